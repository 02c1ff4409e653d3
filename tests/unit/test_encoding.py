"""Results in each format, read back by other libraries than wrote them."""

import io
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from superres.errors import ImageRejectedError, StorageError
from superres.imaging.colour import Planes
from superres.imaging.encoding.formats import FORMATS, Encoding, FormatName
from superres.imaging.encoding.writing import encode
from superres.imaging.info import ImageInfo
from superres.imaging.metadata.model import NOTHING, Metadata
from tests.support.image_files import ADOBE_RGB, icc_profile, noise, photo

HEIGHT, WIDTH = 83, 61
LOSSY: list[FormatName] = ["jpeg", "webp", "avif"]


def planes(channels: int, depth: int, *, random: bool = False) -> Planes:
    make = noise if random else photo
    return np.ascontiguousarray(np.moveaxis(make(HEIGHT, WIDTH, channels, depth), -1, 0))


def info_of(samples: Planes) -> ImageInfo:
    channels, height, width = samples.shape
    return ImageInfo(width, height, channels, 8 * samples.dtype.itemsize)


def written(
    samples: Planes,
    folder: Path,
    encoding: Encoding,
    metadata: Metadata = NOTHING,
    profile: bytes | None = None,
) -> Path:
    path = folder / f"result{encoding.kind.suffix}"
    strips = [samples[:, :40], samples[:, 40:41], samples[:, 41:]]
    encode(strips, info_of(samples), path, encoding, metadata, profile)
    return path


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiff_has_every_sample(channels, depth, tmp_path):
    samples = planes(channels, depth, random=True)
    path = written(samples, tmp_path, Encoding("tiff"))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert np.array_equal(page.asarray().reshape(HEIGHT, WIDTH, -1), np.moveaxis(samples, 0, 2))
        assert (int(page.compression), int(page.predictor)) == (8, 2)
        assert list(map(int, page.extrasamples)) == [2][: 1 - channels % 2]
    if channels % 2:  # OpenCV drops the alpha of grey
        other = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).reshape(HEIGHT, WIDTH, -1)
        assert np.array_equal(other[..., ::-1], np.moveaxis(samples, 0, 2))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", LOSSY)
def test_lossy_formats_are_close_to_every_sample(name, channels, tmp_path):
    samples = planes(channels, 8)
    encoding = Encoding(name, 95)
    if name == "jpeg" and channels in (2, 4):
        with pytest.raises(ImageRejectedError, match=r"^it has transparency, and JPEG has none; "):
            written(samples, tmp_path, encoding)
        assert list(tmp_path.iterdir()) == []
        return
    with Image.open(written(samples, tmp_path, encoding)) as picture:
        modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
        back = np.asarray(picture.convert(modes[channels])).reshape(HEIGHT, WIDTH, channels)
    visible = back[..., -1:] > 8 if channels % 2 == 0 else np.ones((HEIGHT, WIDTH, 1), bool)
    difference = np.abs(back.astype(int) - np.moveaxis(samples, 0, 2))
    assert (difference * visible).mean() < 4


@pytest.mark.parametrize("name", LOSSY)
def test_a_lower_quality_makes_a_smaller_file(name, tmp_path):
    sizes = [
        written(planes(3, 8), tmp_path, Encoding(name, quality)).stat().st_size
        for quality in (30, 60, 100)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2


@pytest.mark.parametrize("name", LOSSY)
def test_what_needs_sixteen_bits_says_which_formats_have_them(name, tmp_path):
    with pytest.raises(ImageRejectedError, match=r"16 bits a sample, and \w+ holds 8; choose PNG "):
        written(planes(3, 16), tmp_path, Encoding(name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "width", "height", "reason"),
    [
        ("jpeg", 65_501, 1, "65,501 × 1 pixels, and a side of JPEG at most 65,500"),
        ("webp", 1, 16_384, "1 × 16,384 pixels, and a side of WebP at most 16,383"),
        ("avif", 32_769, 1, "a side of AVIF at most 32,768"),
        ("avif", 20_000, 20_000, "20,000 × 20,000 pixels, and AVIF at most 268,435,456"),
    ],
)
def test_sizes_beyond_a_format_are_known_before_any_work(name, width, height, reason, tmp_path):
    never = (pytest.fail("a strip was asked for") for _ in range(1))
    with pytest.raises(ImageRejectedError, match=reason):
        encode(never, ImageInfo(width, height, 3, 8), tmp_path / "large", Encoding(name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_the_largest_sides_can_be_written(name, tmp_path):
    side = FORMATS[name].max_side
    samples = np.zeros((3, 2, side), np.uint8)
    encode([samples], info_of(samples), tmp_path / "wide", Encoding(name))
    with Image.open(tmp_path / "wide") as picture:
        assert picture.size == (side, 2)


def test_a_quality_is_for_formats_that_lose():
    for name in ("png", "tiff"):
        with pytest.raises(ValueError, match="loses nothing"):
            Encoding(name, 90)


@pytest.mark.parametrize("name", FORMATS)
def test_an_error_of_the_strips_comes_through_and_leaves_nothing(name, tmp_path):
    samples = planes(3, 8)

    def strips():
        yield samples[:, :9]
        raise LookupError("of the caller")

    with pytest.raises(LookupError, match="of the caller"):
        encode(strips(), info_of(samples), tmp_path / "result", Encoding(name))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_that_cannot_be_written_is_one_error_and_leaves_nothing(name, tmp_path):
    samples = np.ascontiguousarray(np.moveaxis(noise(900, 900, 3, 8), -1, 0))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write to .*File too large"):
            encode([samples], info_of(samples), tmp_path / "result", Encoding(name))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FORMATS)
def test_results_say_that_they_are_srgb(name, channels, tmp_path):
    path = written(planes(channels, 8), tmp_path, Encoding(name))
    if name == "avif":  # primaries of BT.709, transfer of sRGB
        assert b"colrnclx\x00\x01\x00\x0d" in path.read_bytes()
        return
    with Image.open(path) as picture:
        if name == "png":
            assert "srgb" in picture.info
            return
        profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
    grey = channels == 1 and name != "webp"
    assert ImageCms.getProfileDescription(profile).strip() == ("Grey of sRGB" if grey else "sRGB")
    if not grey:
        colours = Image.fromarray(photo(30, 40))
        same = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile("sRGB"))
        assert np.abs(np.asarray(same).astype(int) - np.asarray(colours)).max() <= 1


@pytest.mark.parametrize("name", FORMATS)
def test_another_profile_is_embedded(name, tmp_path):
    profile = icc_profile(ADOBE_RGB, 563 / 256)
    path = written(planes(3, 8), tmp_path, Encoding(name), profile=profile)
    with Image.open(path) as picture:
        assert picture.info["icc_profile"] == profile


def test_a_profile_larger_than_a_segment_of_jpeg_is_whole(tmp_path):
    profile = icc_profile(ADOBE_RGB, 563 / 256) + bytes(150_000)
    path = written(planes(3, 8), tmp_path, Encoding("jpeg"), profile=profile)
    with Image.open(path) as picture:
        assert picture.info["icc_profile"] == profile


@pytest.mark.parametrize(("quality", "sampling"), [(89, (2, 2)), (90, (1, 1))])
def test_jpeg_holds_full_colour_from_quality_90_on(quality, sampling, tmp_path):
    path = written(planes(3, 8), tmp_path, Encoding("jpeg", quality))
    with path.open("rb") as stream, JpegImageFile(stream) as picture:
        assert picture.layer[0][1:3] == sampling


@pytest.mark.parametrize("name", FORMATS)
def test_equal_pixels_give_equal_files_however_they_come(name, tmp_path):
    samples = planes(3, 8)
    whole, rows = tmp_path / "whole", tmp_path / "rows"
    encode([samples], info_of(samples), whole, Encoding(name))
    strips = [samples[:, row : row + 1] for row in range(HEIGHT)]
    encode(strips, info_of(samples), rows, Encoding(name))
    assert whole.read_bytes() == rows.read_bytes()


def test_a_big_tiff_is_read_by_others(tmp_path):
    samples = planes(3, 16)
    path = written(samples, tmp_path, Encoding("tiff"), Metadata(is_big=True))
    assert path.read_bytes()[:4] == b"II+\0"
    with tifffile.TiffFile(path) as file:
        assert file.is_bigtiff
        assert np.array_equal(file.asarray(), np.moveaxis(samples, 0, 2))
    other = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(other[..., ::-1], np.moveaxis(samples, 0, 2))


def test_a_tiff_of_many_strips_has_its_directory_in_front(tmp_path):
    samples = np.ascontiguousarray(np.moveaxis(noise(700, 3000, 3, 8), -1, 0))
    encode([samples], info_of(samples), tmp_path / "a.tif", Encoding("tiff"))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        assert len(page.dataoffsets) == 7
        assert page.offset == 8
        assert np.array_equal(page.asarray(), np.moveaxis(samples, 0, 2))

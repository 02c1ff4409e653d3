"""Pictures derived for browsers: their content, their cache, and what is rejected."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from notifier import drawing, pictures
from notifier.pictures import (
    GonePictureError,
    NoPictureError,
    Pictures,
    stored_kind,
    stored_uri,
    version_of,
)
from superres.errors import StorageError
from superres.imaging.colour import protocol_luma
from superres.imaging.decoding import decode_file
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png
from superres.pipeline import storage
from superres.pipeline.records import Evaluation, StoredImage
from superres.quality.evaluation import bicubic_rows
from superres.quality.metrics import compare
from tests.support import image_files
from tests.support.example_gallery import Gallery

ANY = Limits(1 << 30, 1 << 30)
PHOTO = image_files.photo(61, 83)


@pytest.fixture
def gallery(tmp_path):
    made = Gallery(tmp_path)
    yield made
    made.close()


def derive(gallery: Gallery, image: Evaluation, kind, width=None) -> Path:
    return gallery.pictures.file(image, kind, width, gallery.settings)


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as opened:
        return np.asarray(opened)


def planes(uri: str) -> np.ndarray:
    return decode_file(Path(uri), ANY).planes()


def cached(gallery: Gallery) -> list[Path]:
    folder = gallery.folder / "cache"
    return sorted(path for path in folder.rglob("*") if path.is_file())


# ---- content


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (3, 8), (4, 8), (3, 16), (2, 16)])
def test_the_bicubic_picture_is_the_one_of_the_metrics(gallery, channels, depth):
    content = image_files.png(image_files.photo(64, 90, channels, depth))
    image = gallery.finish(content)
    bicubic = planes(str(derive(gallery, image, "bicubic")))
    assert bicubic.dtype == (np.uint8 if depth == 8 else np.uint16)
    truth = planes(image.original.uri)[:, : bicubic.shape[1], : bicubic.shape[2]]
    (quality,) = compare(protocol_luma(truth), protocol_luma(bicubic), shave=2)
    assert quality.psnr == pytest.approx(image.bicubic.psnr, abs=1e-4)
    assert quality.ssim == pytest.approx(image.bicubic.ssim, abs=1e-5)


def test_the_difference_map_shows_where_and_how_much_luma_differs(gallery):
    image = gallery.finish(image_files.png(PHOTO))
    truth = planes(image.original.uri)[:, :60, :82]
    nearly = truth.copy()
    nearly[:, 10, 20] = np.where(truth[:, 10, 20] > 100, truth[:, 10, 20] - 100, 100)
    nearly[:, 30, 40] += np.where(truth[:, 30, 40] > 100, -2, 2).astype(np.uint8)
    encode_png([nearly], decode_file(Path(image.result.uri), ANY).info, Path(image.result.uri))
    drawn = pixels(derive(gallery, image, "difference"))
    assert drawn.shape == (60, 82, 3)
    black, white = drawing.COLOURS[0], drawing.COLOURS[-1]
    assert tuple(drawn[0, 0]) == (black >> 16, black >> 8 & 255, black & 255)
    assert tuple(drawn[10, 20]) == (white >> 16, white >> 8 & 255, white & 255)
    expected = round(2 / 255 / drawing.DIFFERENCE_PEAK * 255)
    assert tuple(drawn[30, 40]) == tuple(drawing._colour_table()[expected])
    different = np.argwhere((drawn != drawn[0, 0]).any(axis=2))
    assert different.tolist() == [[10, 20], [30, 40]]


def test_without_an_original_the_difference_map_compares_with_bicubic(gallery):
    image = gallery.finish(image_files.png(PHOTO), mode="upscale")
    low = planes(image.low_resolution.uri)
    bicubic = bicubic_rows(low, 2, 0, 122)
    info = decode_file(Path(image.result.uri), ANY).info
    encode_png([bicubic], info, Path(image.result.uri))
    drawn = pixels(derive(gallery, image, "difference"))
    assert (drawn == drawn[0, 0]).all()


def test_the_colours_get_steadily_lighter():
    table = drawing._colour_table().astype(float)
    lightness = table @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) > -0.5).all()  # levels are whole numbers
    assert lightness[-1] - lightness[0] > 200


@pytest.mark.parametrize("kind", ["result", "original", "low", "bicubic", "difference"])
def test_a_thumbnail_is_a_small_copy_and_never_larger_than_the_picture(gallery, kind):
    image = gallery.finish(image_files.png(image_files.photo(301, 902)))
    whole = {"low": (451, 150)}.get(kind, (902, 300))
    for width in (320, 640, 1280):
        file = derive(gallery, image, kind, width)
        with Image.open(file) as opened:
            assert opened.format == "WEBP"
            across = min(width, whole[0])
            # The last row of the original was cropped before reducing, and is cropped here, too.
            assert opened.size == (across, round(whole[1] * across / whole[0]))


@pytest.mark.parametrize(("channels", "depth"), [(1, 8), (2, 8), (4, 8), (3, 16), (2, 16), (1, 16)])
def test_thumbnails_of_grey_alpha_and_16_bits_look_like_their_pictures(gallery, channels, depth):
    image = gallery.finish(image_files.png(image_files.photo(80, 120, channels, depth)))
    with Image.open(derive(gallery, image, "original", 320)) as opened:
        shown = np.asarray(opened.convert("RGBA" if channels in (2, 4) else "RGB")).astype(int)
    stored = np.moveaxis(planes(image.original.uri), 0, -1) / (2**depth - 1) * 255
    colours = stored[..., : 1 if channels <= 2 else 3]
    expected = np.broadcast_to(colours, (80, 120, 3))
    if channels in (2, 4):
        assert np.abs(shown[..., 3] - stored[..., -1]).max() <= 2
        expected, shown = (
            expected * (stored[..., -1:] > 128),
            shown[..., :3] * (stored[..., -1:] > 128),
        )
    assert np.abs(shown[..., :3] - expected).mean() < 6


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP", "TIFF", "BMP", "GIF"])
def test_thumbnails_are_made_of_every_accepted_format(gallery, format_name):
    content = image_files.pillow(image_files.photo(90, 120), format_name)
    image = gallery.finish(content, mode="upscale")
    with Image.open(derive(gallery, image, "low", 320)) as opened:
        assert opened.size == (120, 90)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_rotated_original_is_shown_upright(gallery, orientation):
    content = image_files.oriented(image_files.photo(80, 120), "JPEG", orientation, quality=95)
    image = gallery.finish(content)
    with Image.open(derive(gallery, image, "original", 320)) as opened:
        assert opened.size == (image.result.width, image.result.height)
        shown = np.asarray(opened.convert("RGB")).astype(float)
    with Image.open(derive(gallery, image, "result", 320)) as opened:
        ours = np.asarray(opened.convert("RGB")).astype(float)
    assert np.abs(shown - ours).mean() < 8


@pytest.mark.slow
def test_a_very_high_image_has_a_thumbnail_too(gallery):
    image = gallery.finish(image_files.png(image_files.photo(6000, 40)), mode="upscale")
    with Image.open(derive(gallery, image, "result", 320)) as opened:
        assert opened.height == 4 * 320


def test_a_format_that_browsers_do_not_show_is_converted(gallery):
    image = gallery.finish(image_files.tiff(PHOTO))
    assert stored_kind(image, "original", None, unchanged=True) == "original"
    assert stored_kind(image, "original", None, unchanged=False) is None
    shown = derive(gallery, image, "original")
    assert shown.suffix == ".png"
    assert (pixels(shown) == PHOTO).all()


@pytest.mark.parametrize(
    "content",
    [
        image_files.pillow(Image.fromarray(PHOTO).convert("YCbCr"), "TIFF"),
        image_files.pillow(PHOTO, "TIFF", compression="zstd"),
        image_files.pillow(PHOTO, "JPEG", quality=95)[:-2],  # without its end mark
    ],
)
def test_a_thumbnail_shows_the_colours_that_are_upscaled(gallery, content):
    image = gallery.finish(content, mode="upscale")
    with Image.open(derive(gallery, image, "low", 320)) as opened:
        shown = np.asarray(opened.convert("RGB")).astype(float)
    assert np.abs(shown - PHOTO).mean() < 8


# ---- rejection


def test_large_images_get_no_full_size_pictures(gallery, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_DERIVED_PIXELS", 80 * 60)
    image = gallery.finish(image_files.png(PHOTO))
    for kind in ("bicubic", "difference"):
        for width in (None, 320):
            with pytest.raises(NoPictureError, match="megapixels"):
                derive(gallery, image, kind, width)
    assert derive(gallery, image, "result", 320).exists()


def test_an_expired_file_is_reported(gallery):
    image = gallery.finish(image_files.png(PHOTO))
    Path(image.low_resolution.uri).unlink()
    for kind in ("low", "bicubic"):
        with pytest.raises(GonePictureError, match="expired"):
            derive(gallery, image, kind, 320)
    assert cached(gallery) == []


def test_a_damaged_image_is_reported(gallery):
    image = gallery.finish(image_files.png(PHOTO))
    whole = Path(image.result.uri).read_bytes()
    Path(image.result.uri).write_bytes(whole[: len(whole) // 2])
    for kind, width in (("result", 320), ("difference", None)):
        with pytest.raises(NoPictureError, match="cannot be shown"):
            derive(gallery, image, kind, width)
    assert cached(gallery) == []


@pytest.mark.parametrize(
    "location",
    [
        "/etc/passwd",
        "{folder}/results/../secret.png",
        "{folder}/results/link.png",
        "{folder}/results-of-others/x.png",
        "s3://bucket/x.png",
        "../../../etc/passwd",
        "{folder}/work/x.png",
        "\0",
    ],
)
def test_a_forged_record_gives_no_access_to_other_files(gallery, location):
    image = gallery.finish(image_files.png(PHOTO))
    secret = gallery.folder / "secret.png"
    secret.write_bytes(image_files.png(PHOTO))
    (gallery.folder / "results" / "link.png").symlink_to(secret)
    forged = StoredImage(uri=location.format(folder=gallery.folder), width=82, height=60)
    image = image.model_copy(update={"result": forged})
    with pytest.raises(NoPictureError, match="outside the configured folders"):
        stored_uri(image, "result", gallery.settings)
    for kind in ("result", "difference"):
        with pytest.raises(NoPictureError):
            derive(gallery, image, kind, 320)


@pytest.mark.parametrize(
    ("uri", "lies"),
    [
        ("s3://bucket/results/images/x.png", True),
        ("s3://bucket/results", False),
        ("s3://bucket/resultsx/x.png", False),
        ("s3://other/results/x.png", False),
        ("s3://bucket/results/../x.png", False),
        ("/bucket/results/x.png", False),
    ],
)
def test_locations_in_s3_are_compared_by_their_parts(uri, lies):
    assert pictures._is_inside(uri, "s3://bucket/results/") is lies


# ---- the cache


def test_a_picture_is_made_once_per_version(gallery, monkeypatch):
    image = gallery.finish(image_files.png(PHOTO))
    count = []
    thumbnail = drawing.thumbnail

    def counted(*given):
        count.append(1)
        return thumbnail(*given)

    monkeypatch.setattr(drawing, "thumbnail", counted)
    first = derive(gallery, image, "result", 320)
    assert derive(gallery, image, "result", 320) == first
    assert len(count) == 1
    later = image.model_copy(update={"finished_at": image.finished_at.replace(year=2030)})
    assert version_of(later) != version_of(image)
    assert derive(gallery, later, "result", 320) != first
    assert len(count) == 2


def test_concurrent_threads_make_a_picture_once(gallery, monkeypatch):
    image = gallery.finish(image_files.png(PHOTO))
    count = []
    begun, go_on = threading.Event(), threading.Event()
    thumbnail = drawing.thumbnail

    def slow(*given):
        count.append(1)
        begun.set()
        go_on.wait(10)
        return thumbnail(*given)

    monkeypatch.setattr(drawing, "thumbnail", slow)
    files = []
    threads = [
        threading.Thread(target=lambda: files.append(derive(gallery, image, "result", 320)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(files) == 4
    assert len(count) == 1
    assert gallery.pictures._making == {}


def test_a_picture_can_be_made_after_a_failure(gallery, monkeypatch):
    image = gallery.finish(image_files.png(PHOTO))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(drawing, "thumbnail", full)
        with pytest.raises(StorageError, match="No space left"):
            derive(gallery, image, "result", 320)
    assert derive(gallery, image, "result", 320).exists()


def test_the_least_recently_used_picture_is_deleted_first(gallery):
    image = gallery.finish(image_files.png(image_files.photo(200, 300)))
    first, second, third = (
        derive(gallery, image, kind, 320) for kind in ("result", "original", "low")
    )
    for age, file in enumerate((third, second, first)):
        os.utime(file, (1_000_000 + age, 1_000_000 + age))
    small = Pictures(gallery.folder / "cache", first.stat().st_size + 1)
    assert small.file(image, "low", 320, gallery.settings) == third  # used again just now
    os.utime(first, (1, 1))
    newest = small.file(image, "bicubic", None, gallery.settings)
    # Larger than the limit, but just requested.
    assert cached(gallery) == [newest]


@pytest.mark.slow
def test_the_cache_stays_within_its_limit(gallery):
    images = [
        gallery.finish(image_files.png(image_files.noise(150, 150, 3, 8, n)), f"{n}.png")
        for n in range(12)
    ]
    limit = 100_000
    small = Pictures(gallery.folder / "cache", limit)
    for image in images:
        small.file(image, "result", 320, gallery.settings)
        assert sum(file.stat().st_size for file in cached(gallery)) <= limit
    assert small.file(images[-1], "result", 320, gallery.settings) in cached(gallery)


@pytest.mark.slow
def test_a_thumbnail_of_a_large_picture_needs_little_memory(tmp_path):
    """64 megapixels, 192 MB decoded: the process must stay below that."""
    file = tmp_path / "large.png"
    strip = np.zeros((3, 1000, 8000), np.uint8)
    info = ImageInfo(8000, 8000, 3, 8)
    encode_png((strip for _ in range(8)), info, file)
    code = (
        "import resource, sys; from pathlib import Path; from notifier import drawing;"
        "from superres.imaging.decoding import Limits;"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "drawing.thumbnail(Path(sys.argv[1]), 640, Limits(1 << 40, 1 << 40), (8000, 8000));"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(file)], check=True, capture_output=True, timeout=60
    )
    assert int(result.stdout) < 96


def test_the_picture_of_a_jpeg_original_is_complete(gallery):
    image = gallery.finish(image_files.pillow(PHOTO, "JPEG", quality=95), "boat.jpg")
    content = storage.read_bytes(stored_uri(image, "original", gallery.settings))
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.format == "JPEG"

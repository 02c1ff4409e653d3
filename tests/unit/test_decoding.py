import contextlib
import io
import itertools
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from superres.errors import ImageRejectedError, StorageError
from superres.imaging.colour import Planes
from superres.imaging.decoding import DecodedImage, decode, decode_file
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png, encode_png_bytes
from tests.support import image_files
from tests.support.paths import ROOT

LIMITS = Limits(max_bytes=10**8, max_pixels=10**8)
GREY = image_files.photo(13, 17, 1)
COLOUR = image_files.photo(13, 17, 3)
PALETTE = np.array([[250, 10, 20], [5, 240, 30], [0, 0, 0], [255, 255, 255]])
INDICES = np.arange(13 * 17).reshape(13, 17) % 4
BILEVEL = INDICES % 2


def planar(pixels: image_files.Pixels) -> image_files.Pixels:
    """(H, W) or (H, W, C) to (C, H, W)."""
    return np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)


def by_pillow(data: bytes) -> image_files.Pixels:
    return planar(np.asarray(Image.open(io.BytesIO(data))))


def planes(data: bytes, *, grayscale: bool = False) -> Planes:
    return decode(data, LIMITS, grayscale=grayscale).planes()


EXACT: dict[str, tuple[bytes, image_files.Pixels]] = {
    "PNG RGB": (image_files.png(COLOUR), COLOUR),
    "PNG RGB, filtered": (image_files.pillow(COLOUR, "PNG"), COLOUR),
    "PNG grey": (image_files.png(GREY), GREY),
    "PNG grey 1 bit": (image_files.png(BILEVEL, bits=1), BILEVEL.astype(np.uint8) * 255),
    "PNG grey 2 bits": (image_files.png(INDICES, bits=2), INDICES.astype(np.uint8) * 85),
    "PNG palette": (
        image_files.palette_png(INDICES, PALETTE),
        PALETTE[INDICES].astype(np.uint8),
    ),
    "PNG palette with transparency": (
        image_files.palette_png(INDICES, PALETTE, np.array([0, 128])),
        np.dstack([PALETTE[INDICES], np.array([0, 128, 255, 255])[INDICES]]).astype(np.uint8),
    ),
    "PNG RGB with a transparent colour": (
        image_files.png(PALETTE[INDICES].astype(np.uint8), extra={b"tRNS": b"\0\xfa\0\x0a\0\x14"}),
        np.dstack([PALETTE[INDICES], np.where(INDICES == 0, 0, 255)]).astype(np.uint8),
    ),
    **{
        f"PNG {kind} {depth} bits": (image_files.png(pixels), pixels)
        for (kind, channels), depth in itertools.product(
            {"grey": 1, "grey and alpha": 2, "RGB": 3, "RGBA": 4}.items(), (8, 16)
        )
        for pixels in [image_files.noise(13, 17, channels, depth)]
    },
    **{
        f"TIFF {kind} {depth} bits": (image_files.tiff(pixels), pixels)
        for (kind, channels), depth in itertools.product(
            {"grey": 1, "grey and alpha": 2, "RGB": 3, "RGBA": 4}.items(), (8, 16)
        )
        for pixels in [image_files.noise(13, 17, channels, depth)]
    },
    "TIFF, first of three pages": (image_files.tiff(COLOUR, pages=3), COLOUR),
    "TIFF LZW": (image_files.pillow(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR),
    "TIFF 1 bit": (
        image_files.pillow(Image.fromarray(BILEVEL.astype(bool)), "TIFF"),
        BILEVEL.astype(np.uint8) * 255,
    ),
    "WebP RGB": (image_files.pillow(COLOUR, "WEBP", lossless=True), COLOUR),
    "WebP RGBA": (
        image_files.pillow(image_files.photo(13, 17, 4), "WEBP", lossless=True, exact=True),
        image_files.photo(13, 17, 4),
    ),
    "BMP RGB": (image_files.pillow(COLOUR, "BMP"), COLOUR),
    "BMP RGBA": (
        image_files.bmp_with_alpha(image_files.photo(13, 17, 4)),
        image_files.photo(13, 17, 4),
    ),
    "BMP grey": (image_files.pillow(GREY, "BMP"), GREY),
    "BMP 1 bit": (
        image_files.pillow(Image.fromarray(BILEVEL.astype(bool)), "BMP"),
        BILEVEL.astype(np.uint8) * 255,
    ),
}
LIKE_PILLOW = {
    "JPEG": image_files.pillow(COLOUR, "JPEG", quality=95),
    "JPEG 4:4:4": image_files.pillow(COLOUR, "JPEG", quality=95, subsampling=0),
    "JPEG progressive": image_files.pillow(COLOUR, "JPEG", progressive=True),
    "JPEG grey": image_files.pillow(GREY, "JPEG"),
    "JPEG and what follows it": image_files.pillow(COLOUR, "JPEG") + b"appended by some tool" * 99,
    "WebP lossy": image_files.pillow(COLOUR, "WEBP"),
}


@pytest.mark.parametrize("name", EXACT)
def test_lossless_formats_decode_by_value(name: str) -> None:
    data, pixels = EXACT[name]
    image = decode(data, LIMITS)
    decoded = image.planes()
    assert decoded.dtype == pixels.dtype == image.info.dtype
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, planar(pixels))
    assert decoded.shape == (image.info.channels, image.info.height, image.info.width)


@pytest.mark.parametrize("name", LIKE_PILLOW)
def test_lossy_formats_decode_as_pillow_does(name: str) -> None:
    data = LIKE_PILLOW[name]
    difference = planes(data).astype(int) - by_pillow(data)
    assert np.abs(difference).max() <= 2


def test_gif_gives_its_first_frame() -> None:
    frames = [Image.fromarray(image_files.photo(13, 17, seed=s)).quantize(64) for s in range(3)]
    data = image_files.pillow(frames[0], "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(planes(data), planar(np.asarray(frames[0].convert("RGB"))))


def test_gif_transparency_becomes_alpha() -> None:
    frame = Image.fromarray(INDICES.astype(np.uint8), "P")
    frame.putpalette(PALETTE.astype(np.uint8).tobytes())
    decoded = planes(image_files.pillow(frame, "GIF", transparency=1))
    opaque = INDICES != 1
    np.testing.assert_array_equal(decoded[3], opaque * 255)
    np.testing.assert_array_equal(decoded[:3, opaque], PALETTE[INDICES][opaque].T)


def test_premultiplied_alpha_is_divided_out() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[...] = (100, 50, 0, 128)
    first = planes(image_files.tiff(pixels, extra_sample=1))[:, 0, 0]
    np.testing.assert_allclose(first, (199, 100, 0, 128), atol=1)


def test_interlaced_png_decodes_by_value() -> None:
    # Adam7 of an image of one pixel has one pass, so that the ordinary writer can make it.
    one = image_files.png(COLOUR[:1, :1])
    header = one[16:29]
    interlaced = one[:8] + image_files.png_chunk(b"IHDR", header[:-1] + b"\1") + one[33:]
    np.testing.assert_array_equal(planes(interlaced), planar(COLOUR[:1, :1]))


@pytest.mark.parametrize(("format_name", "options"), [("JPEG", {"quality": 95}), ("TIFF", {})])
def test_cmyk_becomes_rgb(format_name: str, options: dict[str, int]) -> None:
    inks = {
        "paper": ((0, 0, 0, 0), (255, 255, 255)),
        "red": ((0, 255, 255, 0), (237, 28, 36)),
        "green": ((255, 0, 255, 0), (0, 166, 81)),
        "blue": ((255, 255, 0, 0), (46, 49, 146)),
        "black": ((0, 0, 0, 255), (35, 31, 32)),
    }
    for name, (ink, colour) in inks.items():
        patch = Image.new("CMYK", (16, 16), ink)
        pixel = planes(image_files.pillow(patch, format_name, **options))[:, 8, 8]
        # The colours are those of coated paper; presses and profiles differ by some tens.
        assert np.abs(pixel.astype(int) - colour).max() < 60, (name, pixel)


def upright(pixels: image_files.Pixels, orientation: int) -> image_files.Pixels:
    """What EXIF 2.3 says about each value of the tag, in words turned into NumPy."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format_name", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "zstd"}),  # decoded by Pillow
        ("WEBP", {"lossless": True}),
        ("JPEG", {"subsampling": 0}),
    ],
)
def test_exif_orientation_is_applied(
    format_name: str, options: dict[str, Any], orientation: int
) -> None:
    # Flat quadrants, so that JPEG too comes back nearly by value.
    quadrants = np.zeros((16, 32, 3), np.uint8)
    quadrants[:8, :16] = (200, 30, 40)
    quadrants[:8, 16:] = (20, 210, 60)
    quadrants[8:, :16] = (10, 40, 220)
    image = decode(image_files.oriented(quadrants, format_name, orientation, **options), LIMITS)
    wanted = planar(upright(quadrants, orientation))
    assert (image.info.height, image.info.width) == wanted.shape[1:]
    strips = np.concatenate(list(image.strips(5)), axis=1)
    assert np.abs(strips.astype(int) - wanted).max() <= (2 if format_name == "JPEG" else 0)


def test_wide_gamut_profile_is_converted() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:] = (100, 200, 100)
    profile = image_files.icc_profile(image_files.ADOBE_RGB, 563 / 256)
    red, green, blue = planes(image_files.pillow(pixels, "PNG", icc_profile=profile))[:, 0, 0]
    # Adobe RGB (1998) of that value is outside sRGB in red's direction: less red, green as high.
    assert red < 40
    assert 198 <= green <= 206
    assert 90 <= blue <= 100


def test_grey_pixels_stay_grey_through_a_profile() -> None:
    pixels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    profile = image_files.icc_profile(image_files.ADOBE_RGB, 1.0)
    converted = planes(image_files.pillow(pixels, "PNG", icc_profile=profile)).astype(int)
    assert np.ptp(converted, axis=0).max() <= 1
    # A linear sample of a half is 188 in sRGB.
    assert converted[1, 0, 128] == pytest.approx(188, abs=1)


def test_srgb_profile_leaves_values_alone() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = image_files.noise(13, 17, 3, 8)
    data = image_files.pillow(pixels, "PNG", icc_profile=profile)
    np.testing.assert_array_equal(planes(data), planar(pixels))


def png_with_profile(pixels: image_files.Pixels, profile: bytes) -> bytes:
    return image_files.png(pixels, extra={b"iCCP": b"test\0\0" + zlib.compress(profile)})


def test_profile_conversion_keeps_16_bits_and_alpha() -> None:
    pixels = image_files.noise(16, 16, 4, 16)
    profile = image_files.icc_profile(image_files.ADOBE_RGB, 563 / 256)
    converted = planes(png_with_profile(pixels, profile))
    assert converted.dtype == np.uint16
    np.testing.assert_array_equal(converted[3], pixels[..., 3])
    assert (converted[:3] % 257 != 0).mean() > 0.5  # not 8 bits in 16
    coarse = planes(png_with_profile((pixels >> 8).astype(np.uint8), profile))
    assert np.abs(converted[:3] / 257 - coarse[:3]).mean() < 1


@pytest.mark.parametrize("profile", [b"", b"no profile", bytes(500)])
def test_broken_profile_is_ignored(profile: bytes) -> None:
    data = png_with_profile(COLOUR, profile)
    np.testing.assert_array_equal(planes(data), planar(COLOUR))


def test_grey_image_keeps_its_values_whatever_profile_of_rgb_it_has() -> None:
    data = image_files.pillow(
        GREY, "TIFF", icc_profile=image_files.icc_profile(image_files.ADOBE_RGB, 1.0)
    )
    np.testing.assert_array_equal(planes(data), planar(GREY))


@pytest.mark.parametrize("depth", [8, 16])
def test_grayscale_is_luma_and_keeps_alpha(depth: int) -> None:
    peak = 2**depth - 1
    colours = np.zeros((1, 6, 4), np.uint8 if depth == 8 else np.uint16)
    colours[0, :, :3] = np.array(
        [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0), (0, 1, 1)]
    ) * np.array(peak, colours.dtype)
    colours[0, :, 3] = range(6)
    image = decode(image_files.png(colours), LIMITS, grayscale=True)
    luma, alpha = image.planes()
    assert image.info == ImageInfo(6, 1, 2, depth)
    weights = np.array([0.299, 0.587, 0.114, 1, 0, 0.701])
    np.testing.assert_array_equal(luma[0], np.rint(weights * peak))
    np.testing.assert_array_equal(alpha[0], range(6))


def test_grayscale_leaves_grey_alone_and_colour_is_by_storage() -> None:
    np.testing.assert_array_equal(planes(image_files.png(GREY), grayscale=True), planar(GREY))
    grey_as_rgb = np.repeat(GREY, 3, axis=2)
    assert decode(image_files.png(grey_as_rgb), LIMITS).info.channels == 3
    np.testing.assert_array_equal(
        planes(image_files.png(grey_as_rgb), grayscale=True), planar(GREY)
    )


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
@pytest.mark.parametrize("name", ["PNG RGB", "TIFF RGBA 16 bits", "BMP RGB", "WebP RGBA"])
def test_strips_add_up_to_the_planes(name: str, rows: int, tmp_path: Path) -> None:
    (path,) = image_files.write_all({"any-name.dat": EXACT[name][0]}, tmp_path)
    image = decode_file(path, LIMITS)
    for _ in range(2):  # an image can be read again
        strips = list(image.strips(rows))
        assert all(s.flags.c_contiguous and s.shape[1] <= rows for s in strips)
        np.testing.assert_array_equal(np.concatenate(strips, axis=1), image.planes())


def test_a_strip_has_at_least_one_row() -> None:
    with pytest.raises(ValueError, match="rows must be at least 1"):
        next(decode(image_files.png(GREY), LIMITS).strips(0))


def rejection(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, limits).planes()
    return str(caught.value)


@pytest.mark.parametrize("name", image_files.bad_images())
def test_bad_files_are_rejected_in_one_line(name: str, tmp_path: Path) -> None:
    (path,) = image_files.write_all({name: image_files.bad_images()[name]}, tmp_path)
    reason = rejection(path.read_bytes())
    assert "\n" not in reason
    assert 20 < len(reason) < 250
    with pytest.raises(ImageRejectedError) as caught:
        decode_file(path, LIMITS).planes()
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("empty.jpg", "empty"),
        ("page.jpg", "not an image of an accepted format: its content is HTML"),
        ("page-with-spaces.jpg", "HTML"),
        ("drawing.svg", "SVG"),
        ("photo.heic", "HEIF"),
        ("text.png", "not an image"),
        ("half.jpg", "JPEG data is truncated"),
        ("half.webp", "WebP data is truncated"),
        ("float.tif", "32-bit floating-point numbers; scale the values to 8 or 16 bits"),
        ("bomb.png", "50,000 × 50,000 pixels, over the limit of 100,000,000"),
        ("bomb.tif", "50,000 × 50,000 pixels"),
    ],
)
def test_reasons_describe_the_fault(name: str, fragment: str) -> None:
    assert fragment in rejection(image_files.bad_images()[name])


@pytest.mark.parametrize("name", image_files.bombs())
def test_bombs_are_rejected_by_their_headers(name: str) -> None:
    with pytest.raises(ImageRejectedError, match="over the limit"):
        decode(image_files.bombs()[name], LIMITS)


def test_limits_are_inclusive() -> None:
    data = image_files.png(COLOUR)
    exact = Limits(max_bytes=len(data), max_pixels=13 * 17)
    assert decode(data, exact).info == ImageInfo(17, 13, 3, 8)
    assert "bytes, over the limit" in rejection(data, Limits(len(data) - 1, 13 * 17))
    assert "pixels, over the limit" in rejection(data, Limits(len(data), 13 * 17 - 1))


def test_damage_is_found_while_reading() -> None:
    data = image_files.pillow(image_files.noise(512, 512, 3, 8), "JPEG")
    strips = decode(data[: len(data) // 2], LIMITS).strips(16)
    assert next(strips).shape == (3, 16, 512)
    with pytest.raises(ImageRejectedError, match="JPEG data is truncated"):
        list(strips)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_ends_in_an_image_or_a_rejection(data: st.DataObject) -> None:
    good = [whole for whole, _ in EXACT.values()] + list(LIKE_PILLOW.values())
    damaged = bytearray(data.draw(st.sampled_from(good)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageRejectedError):
        image = decode(bytes(damaged), Limits(10**6, 10**5))
        assert image.planes().shape[0] == image.info.channels


def test_a_rejection_does_not_quote_an_earlier_one() -> None:
    rejection(image_files.truncated()["half.png"])
    assert "png" not in rejection(image_files.truncated()["half.jpg"]).lower()


def test_missing_file_is_not_the_images_fault(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"absent\.png.*No such file"):
        decode_file(tmp_path / "absent.png", LIMITS)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(1, 50),
    heights=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any),
    channels=st.integers(1, 4),
    depth=st.sampled_from([8, 16]),
    seed=st.integers(0, 99),
    compression=st.integers(0, 3),
)
def test_images_encoded_in_strips_decode_by_value(
    tmp_path_factory: pytest.TempPathFactory,
    width: int,
    heights: list[int],
    channels: int,
    depth: int,
    seed: int,
    compression: int,
) -> None:
    pixels = planar(image_files.noise(sum(heights), width, channels, depth, seed))
    info = ImageInfo(width, sum(heights), channels, depth)
    path = tmp_path_factory.getbasetemp() / "round-trip.png"
    ends = list(itertools.accumulate(heights))
    strips = (pixels[:, end - h : end] for h, end in zip(heights, ends, strict=True))
    encode_png(strips, info, path, compression=compression)
    image = decode_file(path, LIMITS)
    assert image.info == info
    np.testing.assert_array_equal(image.planes(), pixels)
    if depth == 8:  # Pillow reduces 16-bit colour to 8 bits
        np.testing.assert_array_equal(by_pillow(path.read_bytes()), pixels)


def test_equal_pixels_give_equal_bytes_however_they_are_cut(tmp_path: Path) -> None:
    pixels = planar(image_files.photo(700, 900, 3))  # more than one block of the encoder
    info = ImageInfo(900, 700, 3, 8)
    for rows in (1, 64, 333, 700):
        strips = (pixels[:, top : top + rows] for top in range(0, 700, rows))
        encode_png(strips, info, tmp_path / f"{rows}.png")
    files = {path.read_bytes() for path in tmp_path.iterdir()}
    assert files == {encode_png_bytes(pixels)}
    np.testing.assert_array_equal(planes(files.pop()), pixels)


class _BrokenError(Exception):
    pass


def test_an_error_in_the_strips_reaches_the_caller_and_leaves_no_file(tmp_path: Path) -> None:
    def strips() -> Iterator[Planes]:
        yield np.zeros((3, 4, 8), np.uint8)
        raise _BrokenError

    target = tmp_path / "out.png"
    target.write_bytes(b"the previous result")
    with pytest.raises(_BrokenError):
        encode_png(strips(), ImageInfo(8, 8, 3, 8), target)
    assert [p.name for p in tmp_path.iterdir()] == ["out.png"]
    assert target.read_bytes() == b"the previous result"


@pytest.mark.parametrize(
    ("strip", "fragment"),
    [
        (np.zeros((3, 7, 8), np.uint8), "have 7 rows, the image has 8"),
        (np.zeros((3, 9, 8), np.uint8), "more than the 8 rows"),
        (np.zeros((3, 8, 7), np.uint8), "expected uint8"),
        (np.zeros((4, 8, 8), np.uint8), "expected uint8"),
        (np.zeros((3, 8, 8), np.uint16), "is uint16"),
        (np.zeros((8, 8), np.uint8), "expected uint8"),
    ],
)
def test_strips_that_do_not_fit_are_refused(strip: Planes, fragment: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=fragment):
        encode_png([strip], ImageInfo(8, 8, 3, 8), tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_an_unwritable_folder_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"):
        encode_png([], ImageInfo(8, 8, 3, 8), tmp_path / "absent" / "out.png")


def test_info_has_size_channels_and_depth() -> None:
    kinds = [(1, 1, False), (2, 1, True), (3, 3, False), (4, 3, True)]
    for channels, colours, has_alpha in kinds:
        image: DecodedImage = decode(image_files.png(image_files.noise(2, 3, channels, 8)), LIMITS)
        assert (image.info.colours, image.info.has_alpha) == (colours, has_alpha)


MEMORY_PROBE = """
import resource, sys
from pathlib import Path
import numpy as np
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.decoding import decode_file
from superres.imaging.png import encode_png
path = Path(sys.argv[1])
info = ImageInfo(6000, 6000, 3, 8)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
row = np.arange(6000, dtype=np.uint32) ** 2 // 77
strips = (np.tile((row + top).astype(np.uint8), (3, 60, 1)) for top in range(0, 6000, 60))
start = peak()
encode_png(strips, info, path)
written = peak()
for strip in decode_file(path, Limits(10**9, 10**9)).strips(60):
    assert strip.shape == (3, 60, 6000)
print(written - start, peak() - start)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    # The image is 103 MiB unpacked; a process of its own, since a peak never falls.
    command = [sys.executable, "-c", MEMORY_PROBE, str(tmp_path / "big.png")]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    encoding, decoding = map(int, run.stdout.split())
    assert encoding < 30
    assert decoding < 75

"""How strongly a JPEG was compressed, by its table, and what compression does to samples."""

import io
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from superres.errors import ImageRejectedError
from superres.imaging.decoding import check
from superres.imaging.jpeg import (
    jpeg_quality,
    libjpeg_luma,
    planes_through_jpeg,
    quality_of_table,
    through_jpeg,
)
from superres.imaging.limits import Limits
from superres.imaging.samples import sample_images

LIMITS = Limits(1 << 20, 1 << 20)
# The luma table of mozjpeg and ImageMagick, scaled by the quality as libjpeg's is.
ROBIDOUX = """
 16  16  16  18  25  37  56  85     16  17  20  27  34  40  53  75
 16  20  24  31  43  62  91 135     18  27  31  40  53  74 106 156
 25  34  43  53  69  94 131 189     37  40  62  74  94 124 169 238
 56  53  91 106 131 169 226 311     85  75 135 156 189 238 311 418
"""
# The luma table of Photoshop's "high", quality 8 of 12.
PHOTOSHOP_8 = """
  6   4   4   6   9  11  12  16      4   5   5   6   8  10  12  12
  4   5   5   6  10  12  14  19      6   6   6  11  12  15  19  28
  9   8  10  12  16  20  27  31     11  10  12  15  20  27  31  31
 12  12  14  19  27  31  31  31     16  12  19  28  31  31  31  31
"""


def table(text: str, factor: float = 1) -> list[int]:
    return [int(step) for step in np.clip(np.rint(np.array(text.split(), float) * factor), 1, 255)]


@cache
def photographs() -> list[Image.Image]:
    opened = [Image.open(path).convert("RGB") for path in sample_images()[:3]]
    return [picture.resize((160, 120), Image.Resampling.BICUBIC) for picture in opened]


def saved(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **options)
    return file.getvalue()


def test_libjpegs_quality_is_found_exactly() -> None:
    picture = Image.new("RGB", (16, 16), "teal")
    found = {quality: jpeg_quality(saved(picture, quality=quality)) for quality in range(1, 101)}
    assert found == {quality: quality for quality in range(1, 101)}


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_has_a_quality(mode: str, tmp_path: Path) -> None:
    content = saved(Image.new(mode, (40, 30)), quality=61, progressive=True)
    assert jpeg_quality(content) == 61
    path = tmp_path / "named.png"
    path.write_bytes(content)
    assert jpeg_quality(path) == 61


def test_what_is_no_readable_jpeg_has_no_quality() -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 9)).save(file, "PNG")
    whole = saved(Image.new("RGB", (40, 30)), quality=61)
    for content in (file.getvalue(), b"", b"\xff\xd8\xff", whole[:30], b"\xff\xd8\xff" + bytes(90)):
        assert jpeg_quality(content) is None


def without_tables(content: bytes) -> bytes:
    """The JPEG without its quantisation tables."""
    while (at := content.find(b"\xff\xdb")) >= 0:
        content = content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4]) :]
    return content


def test_a_damaged_header_never_raises() -> None:
    whole = saved(Image.new("RGB", (40, 30)), quality=61)
    assert jpeg_quality(without_tables(whole)) is None
    random = np.random.default_rng(0)
    for _ in range(3000):
        damaged = bytearray(whole)
        for at in random.integers(2, 200, 2):
            damaged[at] = random.integers(256)
        quality = jpeg_quality(bytes(damaged))
        assert quality is None or 1 <= quality <= 100
        with suppress(ImageRejectedError):  # one line; any other error fails
            check(bytes(damaged), LIMITS)


@pytest.mark.filterwarnings("error")
def test_a_step_of_zero_counts_as_one() -> None:
    assert quality_of_table([0] * 64) == quality_of_table([1] * 64) == 100


def loss(**options: Any) -> float:
    """The mean over photographs of the logarithm of the squared error in luma."""
    errors = []
    for picture in photographs():
        grey = picture.convert("L")
        back = np.asarray(Image.open(io.BytesIO(saved(grey, **options))), float)
        errors.append(np.log(((back - np.asarray(grey, float)) ** 2).mean()))
    return float(np.mean(errors))


@cache
def loss_at(quality: int) -> float:
    return loss(quality=quality)


def as_lossy(steps: list[int]) -> int:
    """The quality of libjpeg that loses as much as these steps, measured on photographs."""
    target = loss(qtables=[steps])
    return min(range(20, 100), key=lambda quality: abs(loss_at(quality) - target))


@pytest.mark.parametrize(
    "steps",
    [
        table(ROBIDOUX, 2 - 2 * 0.50),
        table(ROBIDOUX, 2 - 2 * 0.75),
        table(ROBIDOUX, 2 - 2 * 0.85),
        table(PHOTOSHOP_8),
        table(PHOTOSHOP_8, 0.25),
        table(PHOTOSHOP_8, 2),
        [4] * 64,
        [12] * 64,  # as flat as some phones' tables, and flatter
    ],
)
def test_tables_of_others_count_as_what_loses_as_much(steps: list[int]) -> None:
    assert quality_of_table(steps) == pytest.approx(as_lossy(steps), abs=6)


def test_the_order_of_a_table_does_not_matter() -> None:
    steps = libjpeg_luma(72).ravel()
    assert quality_of_table(list(np.random.default_rng(0).permutation(steps))) == 72


# ---- what compression does


def shaded(channels: int, kind: type) -> NDArray[Any]:
    rows, columns = np.mgrid[0:24, 0:40]
    planes = [100 + 60 * np.sin((rows * (1 + c) + columns) / 5) for c in range(channels)]
    return (np.stack(planes) * (257 if kind is np.uint16 else 1)).astype(kind)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_planes_go_through_jpeg_and_alpha_does_not(channels: int) -> None:
    planes = shaded(channels, np.uint8)
    rough, fine = planes_through_jpeg(planes, 20), planes_through_jpeg(planes, 98)
    colours = 1 if channels <= 2 else 3
    errors = [
        np.abs(each[:colours].astype(int) - planes[:colours]).mean() for each in (fine, rough)
    ]
    assert 0 < errors[0] < errors[1] < 20
    assert np.array_equal(rough[colours:], planes[colours:])
    assert rough.dtype == np.uint8
    assert rough.shape == planes.shape


def test_16_bit_planes_have_the_levels_of_8_bits_after_jpeg() -> None:
    small = planes_through_jpeg(shaded(3, np.uint8), 75)
    wide = planes_through_jpeg(shaded(3, np.uint8).astype(np.uint16) * np.uint16(257), 75)
    assert wide.dtype == np.uint16
    assert np.array_equal(wide, small.astype(np.uint16) * np.uint16(257))


def test_one_pixel_goes_through_jpeg() -> None:
    assert planes_through_jpeg(np.full((1, 1, 1), 7, np.uint8), 90).shape == (1, 1, 1)
    assert planes_through_jpeg(np.full((4, 1, 1), 7, np.uint8), 90).shape == (4, 1, 1)


def test_grey_luma_and_grey_planes_lose_the_same() -> None:
    planes = shaded(1, np.uint8)
    luma = through_jpeg(planes[0].astype(np.float32), 60)
    assert np.array_equal(luma, planes_through_jpeg(planes, 60)[0])

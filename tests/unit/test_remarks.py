"""What of an image is taken, and what its owner is told: frames, bit fields, two levels."""

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from superres.errors import ImageRejectedError
from superres.imaging.decoding import check, decode
from superres.imaging.limits import Limits
from tests.support import image_files

LIMITS = Limits(max_bytes=10**6, max_pixels=10**6)
FRAMES = [image_files.photo(20, 24, 3, seed=seed) for seed in range(3)]


def animation(format_name: str, frames: list[NDArray[Any]] = FRAMES) -> bytes:
    first, *others = (Image.fromarray(frame) for frame in frames)
    options: dict[str, Any] = {"lossless": True} if format_name == "WEBP" else {}
    if format_name == "GIF":
        first, *others = (picture.quantize(256) for picture in (first, *others))
    return image_files.pillow(first, format_name, save_all=True, append_images=others, **options)


def decoded(data: bytes, page: int | None = None) -> NDArray[Any]:
    """(H, W, C) samples."""
    return np.moveaxis(decode(data, LIMITS, page=page).planes(), 0, -1)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG"])
def test_each_frame_can_be_asked_for(format_name: str) -> None:
    data = animation(format_name)
    assert decode(data, LIMITS).remarks == (
        "page 1 of 3 is taken; superres upscale --page N takes another",
    )
    tolerance = 40 if format_name == "GIF" else 0  # a palette of 256 colours
    for page, frame in [(None, FRAMES[0]), *enumerate(FRAMES, start=1)]:
        result = decoded(data, page)[..., :3]
        assert np.abs(result.astype(int) - frame).max() <= tolerance
    assert decode(data, LIMITS, page=2).remarks == ()
    with pytest.raises(ImageRejectedError, match="has 3 pages, so there is no page 4"):
        decode(data, LIMITS, page=4)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG", "JPEG", "BMP", "TIFF"])
def test_a_single_picture_is_page_1_without_a_word(format_name: str) -> None:
    data = image_files.pillow(FRAMES[0], format_name)
    image = decode(data, LIMITS, page=1)
    assert image.remarks == decode(data, LIMITS).remarks == ()
    np.testing.assert_array_equal(image.planes(), decode(data, LIMITS).planes())
    with pytest.raises(ImageRejectedError, match="has 1 page, so there is no page 2"):
        decode(data, LIMITS, page=2)


def test_a_still_picture_before_the_animation_is_page_1() -> None:
    still = image_files.png(FRAMES[0])
    end = still.index(b"IEND") - 4
    height, width, _ = FRAMES[1].shape
    control = image_files.png_chunk(b"acTL", struct.pack(">II", 1, 0))
    frame = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 10, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in FRAMES[1])
    pixels = image_files.png_chunk(b"fcTL", frame)
    pixels += image_files.png_chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(rows))
    data = still[:33] + control + still[33:end] + pixels + still[end:]
    assert decode(data, LIMITS).remarks[0].startswith("page 1 of 2")
    np.testing.assert_array_equal(decoded(data), FRAMES[0])
    np.testing.assert_array_equal(decoded(data, 2)[..., :3], FRAMES[1])


def test_frames_of_a_png_keep_its_colours() -> None:
    data = animation("PNG")
    linear = image_files.png_chunk(b"gAMA", struct.pack(">I", 100_000))
    data = data[:33] + linear + data[33:]
    first, second = decoded(data, 1)[..., :3], decoded(data, 2)[..., :3]
    assert first.mean() > FRAMES[0].mean() + 20
    assert second.mean() > FRAMES[1].mean() + 20


def test_frames_of_16_bits_are_not_reduced_to_8() -> None:
    deep = image_files.png(image_files.photo(8, 8, 3, depth=16))
    control = image_files.png_chunk(b"acTL", struct.pack(">II", 2, 0))
    data = deep[:33] + control + deep[33:]
    assert decode(data, LIMITS).info.bit_depth == 16
    with pytest.raises(ImageRejectedError, match="frames of 16 bits"):
        decode(data, LIMITS, page=2)


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG"])
def test_a_frame_that_is_cut_off_is_rejected(format_name: str) -> None:
    data = animation(format_name)
    with pytest.raises(ImageRejectedError):
        decoded(data[: len(data) - len(data) // 6], 3)
    check(data, LIMITS)  # the header is whole


MASKS_4444 = (0xF00, 0xF0, 0xF, 0xF000)


def test_a_bmp_of_unusual_bit_fields_is_named() -> None:
    header = struct.pack("<IiiHHIIiiII", 108, 4, 4, 1, 16, 3, 0, 2835, 2835, 0, 0)
    header = (header + struct.pack("<4I", *MASKS_4444)).ljust(108, b"\0")
    size = 14 + len(header)
    data = b"BM" + struct.pack("<IHHI", size + 32, 0, 0, size) + header + bytes(32)
    with pytest.raises(ImageRejectedError, match=r"BMP bitfields layout.*save it as PNG"):
        decode(data, LIMITS)


BILEVEL = np.indices((16, 16)).sum(0) % 2 == 0


@pytest.mark.parametrize("format_name", ["PNG", "TIFF", "GIF", "BMP"])
def test_two_levels_are_remarked_on(format_name: str) -> None:
    picture = Image.fromarray(BILEVEL)
    if format_name == "GIF":
        picture = picture.convert("RGB").quantize(2)
    art = image_files.pillow(picture, format_name)
    (remark,) = decode(art, LIMITS).remarks
    assert "become noise, so reduce dithered art to half its size in grey first" in remark
    grey = image_files.pillow(Image.fromarray(FRAMES[0][..., 0]), format_name)
    assert decode(grey, LIMITS).remarks == ()

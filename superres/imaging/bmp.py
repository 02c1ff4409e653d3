"""What the header of a BMP says about its size and its costs; reads no pixel."""

import os
from typing import BinaryIO

from superres.errors import ImageRejectedError
from superres.imaging import with_pillow
from superres.imaging.outline import Outline

MOST_RUN_LENGTH_PIXELS = 32_000_000
"""Of a run-length encoded BMP, which Pillow decodes pixel by pixel in Python."""

_PIXEL_BYTES = {"1": 1, "L": 1, "P": 3, "RGBA": 4}
# What Pillow holds beside the array: of colours, four bytes a pixel.
_HELD_BYTES = {"1": 1, "L": 1, "P": 1}
_HELD_BYTES_OF_RUNS = 4
_MOST_TRAILING_BYTES = 1 << 16


def read_outline(stream: BinaryIO) -> Outline:
    """Size and costs of a BMP.

    Raises:
        ValueError: the header is damaged.
        ImageRejectedError: it is run-length encoded and too large for that.
    """
    header = with_pillow.read_bmp(stream)
    pixels = header.width * header.height
    stored = max(0, stream.seek(0, os.SEEK_END) - header.start)
    most_pixels = None
    if header.is_run_length:
        if stored > 2 * (pixels + header.height) + _MOST_TRAILING_BYTES:
            raise ValueError("more run lengths than pixels")
        if pixels > MOST_RUN_LENGTH_PIXELS:
            raise ImageRejectedError(
                f"the BMP is run-length encoded and has {pixels:,} pixels, over the limit of"
                f" {MOST_RUN_LENGTH_PIXELS:,} for these; save it as PNG"
            )
        held = _HELD_BYTES_OF_RUNS
    else:
        held = _HELD_BYTES.get(header.mode, 4)
        most_pixels = header.width * -(-stored // header.stride)
    return Outline(
        header.width,
        header.height,
        _PIXEL_BYTES.get(header.mode, 3),
        held,
        most_pixels=most_pixels,
    )

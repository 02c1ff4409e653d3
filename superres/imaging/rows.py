"""Strips of planes to blocks of rows whose samples are interleaved, as files have them."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from superres.imaging.colour import Planes
from superres.imaging.info import ImageInfo


def interleaved(
    strips: Iterable[Planes], info: ImageInfo, rows: int, byte_order: Literal["=", "<", ">"] = "="
) -> Iterator[NDArray[Any]]:
    """(h, W, C) blocks of ``rows`` rows each, the last one perhaps lower, from top to bottom.

    The height of a block does not depend on that of the strips, so that equal pixels give equal
    files. The array is reused for the next block.

    Args:
        strips: (C, h, W) arrays of ``info.dtype`` from top to bottom; heights may differ and add up
            to ``info.height``.
        info: size, channels and depth of the image.
        rows: height of a block.
        byte_order: of 16-bit samples, as NumPy writes it.

    Raises:
        ValueError: the strips do not fit ``info``.
    """
    rows = min(info.height, rows)
    block = np.empty((rows, info.width, info.channels), info.dtype.newbyteorder(byte_order))
    done = 0
    for strip in strips:
        _check_strip(strip, info, done)
        top = 0
        while top < strip.shape[1]:
            filled = done % rows
            part = strip[:, top : top + rows - filled]
            taken = part.shape[1]
            for channel, plane in enumerate(part):
                block[filled : filled + taken, :, channel] = plane
            top, done = top + taken, done + taken
            if done % rows == 0:
                yield block
    if done != info.height:
        raise ValueError(f"the strips have {done} rows, the image has {info.height}")
    if done % rows:
        yield block[: done % rows]


def _check_strip(strip: Planes, info: ImageInfo, done: int) -> None:
    expected = (info.channels, info.width, info.dtype)
    if strip.ndim != 3 or (strip.shape[0], strip.shape[2], strip.dtype) != expected:
        raise ValueError(
            f"a strip at row {done} is {strip.dtype} {strip.shape}; expected {info.dtype}"
            f" ({info.channels}, h, {info.width})"
        )
    if done + strip.shape[1] > info.height:
        raise ValueError(
            f"the strips have more than the {info.height} rows of the image; one of"
            f" {strip.shape[1]} rows follows row {done}"
        )

"""Luma and colour differences of ITU-R BT.601.

FSRCNN works on luma alone. In BT.601 each of R, G and B is luma plus a colour difference, so the
network upscales luma, the differences R - Y and B - Y are enlarged bicubically, and the sums are
the result. This equals converting to Y, Cb, Cr and back (Cb and Cr are these differences, scaled),
with fewer operations on the large planes.

Two ranges of luma occur: full range, [0, 1], inside the arithmetic; and the studio range that
papers measure in and the network is trained on, [16, 235] of 255 (MATLAB's ``rgb2ycbcr``).
"""

import numpy as np
from numpy.typing import NDArray

FloatPlane = NDArray[np.float32]
Planes = NDArray[np.uint8] | NDArray[np.uint16]

KR, KG, KB = (np.float32(0.299), np.float32(0.587), np.float32(0.114))
STUDIO_BLACK = np.float32(16 / 255)
STUDIO_RANGE = np.float32(219 / 255)


def to_unit(plane: Planes) -> FloatPlane:
    """Integer samples of 8 or 16 bits to float32 on [0, 1]."""
    return plane * np.float32(1 / np.iinfo(plane.dtype).max)


def full_luma(red: FloatPlane, green: FloatPlane, blue: FloatPlane) -> FloatPlane:
    """Full-range luma of planes on one range, and on that range: KR R + KG G + KB B.

    Written with differences, so that R = G = B gives exactly their value and grey stays grey.
    """
    luma: FloatPlane = green + KR * (red - green) + KB * (blue - green)
    return luma


def visible_colours(planes: Planes) -> list[FloatPlane]:
    """Grey, or red, green and blue, on [0, 1]; an image with alpha lies over mid-grey."""
    colours = [to_unit(plane) for plane in planes[: 1 if planes.shape[0] <= 2 else 3]]
    if planes.shape[0] in (1, 3):
        return colours
    alpha, ground = to_unit(planes[-1]), np.float32(0.5)
    return [alpha * (colour - ground) + ground for colour in colours]


def integer_luma(colours: Planes) -> NDArray[np.uint32]:
    """Full-range luma of (3, h, w) integer samples, rounded once to whole levels.

    The weights are in thousandths, so the sum is exact. Grey output is made with this.
    """
    red, green, blue = (plane.astype(np.uint32) for plane in colours)
    luma: NDArray[np.uint32] = (299 * red + 587 * green + 114 * blue + 500) // 1000
    return luma


def studio(luma: FloatPlane) -> FloatPlane:
    """Full-range luma on [0, 1] to the studio range [16/255, 235/255]."""
    return luma * STUDIO_RANGE + STUDIO_BLACK


def protocol_luma(planes: Planes) -> FloatPlane:
    """The luma that papers measure, from (C, h, w) integers: grey or RGB, with or without alpha.

    Float32 on [16, 235] for colour; a grey image is measured as it is, on [0, 255], as in the
    literature (its figures for Set14, which has grey images, depend on it). An image with alpha is
    measured as it looks over mid-grey.
    """
    colours = visible_colours(planes)
    if len(colours) == 1:
        return colours[0] * np.float32(255)
    return studio(full_luma(*colours)) * np.float32(255)

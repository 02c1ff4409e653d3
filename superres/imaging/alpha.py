"""Images with alpha: hidden colour must not show when pixels are mixed with their neighbours.

A transparent pixel can have any colour: black, white, the key colour of a sprite. Nobody sees it,
until a kernel or a network mixes it into visible pixels beside it. ``resample`` weights colour by
alpha, which is exact for linear resampling. A network is not linear: it gets images in which
``fill_hidden`` has replaced hidden colour by that of what is visible around.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from superres.imaging.colour import FloatPlane, Planes

_BAND = 256  # rows that are float at a time; even


def has_alpha(planes: Planes) -> bool:
    """Whether the last of (C, h, w) planes is alpha: after grey, or after red, green, blue."""
    return planes.shape[0] in (2, 4)


def resample(planes: Planes, resize: Callable[[FloatPlane], FloatPlane], target: Planes) -> None:
    """Resizes each of (C, h, w) planes and rounds it once into ``target``, of the same type.

    Where there is alpha, colours are multiplied by it before and divided by it after; a pixel
    that becomes transparent gets 0. ``resize`` must be linear.
    """
    if not has_alpha(planes):
        for source, result in zip(planes, target, strict=True):
            _round_into(resize(source.astype(np.float32)), result)
        return
    alpha = planes[-1].astype(np.float32)
    resized = resize(alpha)
    _round_into(resized, target[-1])
    visible = target[-1] > 0
    for source, result in zip(planes[:-1], target[:-1], strict=True):
        premultiplied = resize(source * alpha)
        colour = np.divide(premultiplied, resized, out=np.zeros_like(resized), where=visible)
        _round_into(colour, result)


def _round_into(values: FloatPlane, result: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    np.copyto(result, np.clip(np.rint(values), 0, np.iinfo(result.dtype).max), casting="unsafe")


def fill_hidden(planes: Planes) -> Planes:
    """(C, h, w) samples with sensible colour under pixels that are transparent.

    A pixel keeps its colour if its alpha is at least half of the largest around it (3x3). Below, it
    fades to the mean colour of its surroundings, weighted the same way; a transparent pixel has
    nothing else. So only ratios of alpha count: a photograph that is half transparent everywhere
    stays sharp. Where nothing is visible near, the mean is of what is visible further away.

    Returns ``planes`` itself where nothing changes: without alpha, opaque or all transparent.
    """
    if not has_alpha(planes):
        return planes
    weights = _weights(planes[-1])
    if weights.min() == 1 or not weights.any():
        return planes
    _, height, width = planes.shape
    coarse = np.empty((planes.shape[0], -(-height // 2), -(-width // 2)), np.float32)
    for top in range(0, height, _BAND):
        band = slice(top, top + _BAND)
        known = planes[:, band].astype(np.float32)
        known[-1] = 1
        coarse[:, top // 2 : (top + _BAND) // 2] = _halved(known * weights[band])
    around = _with_edges(_surroundings(coarse))
    filled = planes.copy()
    for top in range(0, height, _BAND):
        band = slice(top, top + _BAND)
        mean = _doubled(around[:, top // 2 : (top + _BAND) // 2 + 2])
        own = weights[band]
        mixed = planes[:-1, band] * own + mean[:, : len(own), :width] * (1 - own)
        np.copyto(filled[:-1, band], np.rint(mixed), casting="unsafe")
    return filled


def _weights(alpha: NDArray[np.uint8] | NDArray[np.uint16]) -> FloatPlane:
    """How much of its own colour each pixel keeps, 0 to 1."""
    largest = alpha
    for axis in (0, 1):
        padded = np.pad(largest, [(1, 1) if each == axis else (0, 0) for each in (0, 1)], "edge")
        before, after = (np.take(padded, range(n, n + alpha.shape[axis]), axis) for n in (0, 2))
        largest = np.maximum(np.maximum(before, after), largest)
    weights: FloatPlane = np.zeros(alpha.shape, np.float32)
    np.divide(alpha, largest, out=weights, where=largest > 0)
    np.minimum(2 * weights, 1, out=weights)
    return weights


def _surroundings(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C + 1, h, w) sums of weighted colours and of weights to (C, h, w) colours without a gap.

    Push and pull (Gortler et al., "The Lumigraph", 1996): gaps get the colour of the same image at
    half the size, whose own gaps are filled first.
    """
    sums /= np.maximum(sums[-1], 1)
    colours: NDArray[np.float32] = sums[:-1]
    weights: NDArray[np.float32] = sums[-1]
    if weights.min() == 1:
        return colours
    if weights.size == 1:
        return colours / weights
    _, height, width = sums.shape
    around = _doubled(_with_edges(_surroundings(_halved(sums))))
    return colours + (1 - weights) * around[:, :height, :width]


def _halved(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, h, w) to sums of 2x2 pixels; beyond the bottom and the right there is nothing."""
    count, height, width = planes.shape
    even = np.pad(planes, ((0, 0), (0, height % 2), (0, width % 2)))
    sums: NDArray[np.float32] = even.reshape(count, -(-height // 2), 2, -(-width // 2), 2).sum(
        (2, 4)
    )
    return sums


def _with_edges(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.pad(planes, ((0, 0), (1, 1), (1, 1)), mode="edge")


def _doubled(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bilinear: (C, h + 2, w + 2) to (C, 2h, 2w) without the outermost pixels."""
    for axis in (1, 2):
        moved = np.moveaxis(planes, axis, 0)
        near = 0.75 * moved[1:-1]
        pairs = np.stack([near + 0.25 * moved[:-2], near + 0.25 * moved[2:]], axis=1)
        planes = np.moveaxis(pairs.reshape(-1, *moved.shape[1:]), 0, axis)
    return planes

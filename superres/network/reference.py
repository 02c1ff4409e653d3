"""The arithmetic from samples to samples in plain NumPy: the reference for every engine.

It is written for reading, not for speed, and uses neither the rewritten deconvolution nor the
constants of ``superres.network.sample_layers``, so that it can find their mistakes. Tests compare
each engine with it.

FSRCNN upscales luma. In BT.601 each of R, G and B is luma plus a colour difference (see
``superres.imaging.colour``); the differences and alpha are enlarged bicubically. Sums are rounded
once, at the depth of the samples. Beyond the edge, all of them see the image mirrored.
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from superres.imaging.colour import KB, KG, KR, STUDIO_BLACK, STUDIO_RANGE, FloatPlane, Planes
from superres.imaging.resample import enlarge_mirroring_edges
from superres.network.weights import HALO, KERNEL, MAPPINGS, Array, Weights

Luma = Callable[[FloatPlane], FloatPlane]
"""Upscales one (h, w) plane of studio luma on [0, 1] to (s*h, s*w)."""


def upscale(planes: Planes, scale: int, luma: Luma) -> Planes:
    """Upscales (C, h, w) samples of 8 or 16 bits to (C, s*h, s*w): grey or RGB, then any alpha."""
    peak = np.iinfo(planes.dtype).max
    rounded = np.floor(unrounded(planes, scale, luma) + np.float32(0.5))
    result: Planes = np.clip(rounded, 0, peak).astype(planes.dtype)
    return result


def unrounded(planes: Planes, scale: int, luma: Luma) -> NDArray[np.float32]:
    """The result of ``upscale`` in levels of the samples, neither rounded nor clipped."""
    channels = planes.shape[0]
    values = planes.astype(np.float32)
    gain = STUDIO_RANGE / np.float32(np.iinfo(planes.dtype).max)
    if channels <= 2:
        high = [(luma(values[0] * gain + STUDIO_BLACK) - STUDIO_BLACK) / gain]
    else:
        red, green, blue = values[:3]
        # By differences, so that R = G = B gives exactly the luma of grey.
        low = green + KR * (red - green) + KB * (blue - green)
        bright = (luma(low * gain + STUDIO_BLACK) - STUDIO_BLACK) / gain
        red_high = enlarge_mirroring_edges(red - low, scale)
        blue_high = enlarge_mirroring_edges(blue - low, scale)
        # The green difference follows from KR R + KG G + KB B = Y.
        green_high = -(KR * red_high + KB * blue_high) / KG
        high = [bright + red_high, bright + green_high, bright + blue_high]
    if channels in (2, 4):
        high.append(enlarge_mirroring_edges(values[-1], scale))
    return np.stack(high)


def fsrcnn(weights: Weights) -> Luma:
    """FSRCNN with these weights, of the image mirrored at its edges; the result is cropped.

    How feature maps are padded does not matter, then: it shows only in what is cropped.
    """
    tensors, border = weights.tensors, HALO * weights.scale

    def layer(features: Array, name: str, index: int = 0) -> Array:
        kernel, bias = tensors[f"{name}.{index}.weight"], tensors[f"{name}.{index}.bias"]
        return _prelu(_convolve(features, kernel, bias), tensors[f"{name}.{index + 1}.weight"])

    def luma(low: FloatPlane) -> FloatPlane:
        padded = np.pad(low, HALO, mode="symmetric")
        features = layer(layer(padded[np.newaxis], "feature_extraction"), "shrink")
        for index in range(MAPPINGS):
            features = layer(features, "map", 2 * index)
        features = layer(features, "expand")
        high = _deconvolve(features, tensors["deconv.weight"], weights.scale)
        return high[border:-border, border:-border] + tensors["deconv.bias"]

    return luma


def _convolve(features: Array, kernel: Array, bias: Array) -> Array:
    """(I, h, w) features by (O, I, side, side) kernel to (O, h, w)."""
    side = kernel.shape[-1]
    padded = np.pad(features, ((0, 0), (side // 2,) * 2, (side // 2,) * 2))
    windows = sliding_window_view(padded, (side, side), axis=(1, 2))
    summed: Array = np.einsum("ihwyx,oiyx->ohw", windows, kernel, optimize=True)
    return summed + bias[:, np.newaxis, np.newaxis]


def _prelu(values: Array, slopes: Array) -> Array:
    return np.where(values > 0, values, values * slopes[:, np.newaxis, np.newaxis])


def _deconvolve(features: Array, kernel: Array, stride: int) -> FloatPlane:
    """Each of (I, h, w) features adds its 9x9 kernel around its output pixel: (s*h, s*w)."""
    _, height, width = features.shape
    reach = KERNEL // 2
    canvas = np.zeros((stride * height + 2 * reach, stride * width + 2 * reach), np.float32)
    for y in range(KERNEL):
        for x in range(KERNEL):
            rows = slice(y, y + stride * height, stride)
            columns = slice(x, x + stride * width, stride)
            canvas[rows, columns] += np.tensordot(kernel[:, 0, y, x], features, axes=1)
    return canvas[reach : reach + stride * height, reach : reach + stride * width]

"""Bicubic resampling, with one convention in the whole project: MATLAB's ``imresize``.

The kernel is Keys' cubic convolution with a = -0.5 (R. Keys, 1981, IEEE TASSP 29), widened by the
scale when reducing (antialiasing), sampled at pixel centres. Pillow's BICUBIC filter in mode "F" is
this kernel; at the borders it renormalises where MATLAB mirrors, which moves Set5 by < 0.003 dB.
OpenCV's INTER_CUBIC is another kernel (a = -0.75, no antialiasing) and must not be mixed with it.
"""

from typing import cast

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from superres.imaging.alpha import resample
from superres.imaging.colour import FloatPlane, Planes


def resize_plane(plane: FloatPlane, height: int, width: int) -> FloatPlane:
    """Resamples one (h, w) float32 plane to (height, width); values may overshoot the input's."""
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def enlarge_plane(plane: FloatPlane, scale: int) -> FloatPlane:
    """Enlarges one (h, w) float32 plane to (scale*h, scale*w)."""
    height, width = plane.shape
    return resize_plane(plane, height * scale, width * scale)


def enlarge_plane_rows(plane: FloatPlane, scale: int, top: int, bottom: int) -> FloatPlane:
    """Rows ``top`` to ``bottom`` of the result of ``enlarge_plane``, without the other rows.

    Reads only the input rows that the kernel reaches (two beyond each end), so a strip of a very
    large plane needs memory for a strip. ``top`` and ``bottom`` count rows of the enlarged plane.
    """
    reach = 2
    first = max(0, top // scale - reach)
    last = min(plane.shape[0], -(-bottom // scale) + reach)
    enlarged = enlarge_plane(plane[first:last], scale)
    return enlarged[top - first * scale : bottom - first * scale]


def bicubic_phases(scale: int) -> NDArray[np.float64]:
    """(s, 5) weights of input pixels q - 2 … q + 2 for the output pixels s*q … s*q + s - 1."""
    centres = (np.arange(scale) + 0.5) / scale - 0.5
    distance = np.abs(centres[:, np.newaxis] - np.arange(-2, 3))
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    phases: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return phases


def enlarge_mirroring_edges(plane: FloatPlane, scale: int) -> FloatPlane:
    """Enlarges one (h, w) plane to (scale*h, scale*w); it is mirrored at its edges.

    ``enlarge_plane`` differs in the two outermost rows and columns of input pixels, where Pillow
    renormalises the kernel instead.
    """
    for axis in (0, 1):
        padded = np.pad(plane, [(2, 2) if each == axis else (0, 0) for each in (0, 1)], "symmetric")
        windows = sliding_window_view(padded, 5, axis=axis)
        phases = np.tensordot(windows, bicubic_phases(scale).T, axes=1)  # (h, w, s)
        shape = [scale * side if each == axis else side for each, side in enumerate(plane.shape)]
        plane = np.moveaxis(phases, -1, axis + 1).reshape(shape).astype(np.float32)
    return plane


def crop_to_multiple(planes: NDArray[np.generic], scale: int) -> NDArray[np.generic]:
    """Crops (..., h, w) at the bottom and right so that both sides are multiples of ``scale``."""
    height, width = planes.shape[-2:]
    return planes[..., : height - height % scale, : width - width % scale]


def reduce_planes(planes: Planes, scale: int) -> Planes:
    """Makes the low-resolution image: (C, H, W) to (C, H // scale, W // scale), same depth.

    Crops to a multiple of ``scale``, reduces each plane with antialiasing, colour premultiplied by
    alpha, and rounds once. Both sides must be at least ``scale``.
    """
    cropped = cast(Planes, crop_to_multiple(planes, scale))
    height, width = (side // scale for side in cropped.shape[1:])
    reduced = cast(Planes, np.empty((planes.shape[0], height, width), planes.dtype))
    resample(cropped, lambda plane: resize_plane(plane, height, width), reduced)
    return reduced

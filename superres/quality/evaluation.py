"""Measures PSNR and SSIM of the pipeline's output and of bicubic enlargement.

``PIPELINE_PROTOCOL`` compares the stored result with the stored original, and with them the bicubic
enlargement of the stored low resolution. That was rounded to whole samples in R, G and B, which
costs about 0.07 dB at x2 against the literature's protocol, ``folder_evaluation.PAPER_PROTOCOL``.
Figures of the two protocols must not be mixed, so every record names its protocol.
"""

from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from superres.errors import ImageRejectedError
from superres.imaging.alpha import resample
from superres.imaging.colour import FloatPlane, Planes, protocol_luma
from superres.imaging.decoding import DecodedImage
from superres.imaging.resample import (
    enlarge_plane_rows,
)
from superres.quality.metrics import Quality, QualityMeter

PIPELINE_PROTOCOL = "bt601-y/stored-images"

# Pixels measured at a time: about fifteen float planes of this size are alive inside the meter,
# which is quickest while they stay near the processor's cache.
_STRIP_PIXELS = 1 << 19
_MIN_STRIP_ROWS = 64
# Low-resolution rows beyond a strip that its bicubic enlargement reads: the kernel reaches two.
_MARGIN = 4


def measure_result(
    original: DecodedImage,
    result: DecodedImage,
    low: Planes,
    scale: int,
    on_strip: Callable[[], None] = lambda: None,
) -> tuple[Quality | None, Quality | None]:
    """Quality of a stored result and of bicubic enlargement of ``low``, by the pipeline's protocol.

    ``result`` is ``scale`` times as large as ``low`` (C, h, w); of ``original`` the top left part
    of that size counts. Images are read in strips, so only ``low`` and some strips are in memory.
    For a grey result of a colour original, decode ``original`` with ``grayscale=True``. Images with
    alpha are compared as they look over mid-grey, so hidden colour does not count. None for an
    image too small for one SSIM window; an infinite PSNR means equal. ``on_strip`` is called after
    each strip.

    Raises ``ImageRejectedError`` when an image is damaged or the original is smaller.
    """
    height, width = low.shape[1] * scale, low.shape[2] * scale
    if (result.info.height, result.info.width) != (height, width):
        raise ValueError(
            f"the result is {result.info.width} x {result.info.height}, not {width} x {height}"
        )
    if original.info.colours != result.info.colours:
        raise ValueError("original and result must both be grey or both be in colour")
    size = original.info
    if size.height < height or size.width < width:
        raise ImageRejectedError(
            f"the original has {size.width} × {size.height} pixels, fewer than the "
            f"result's {width} × {height}; use the image that the low resolution was made from"
        )
    rows = max(_MIN_STRIP_ROWS, _STRIP_PIXELS // width)
    return measure_strips(original.strips(rows), result.strips(rows), low, scale, on_strip)


def measure_strips(
    original: Iterable[Planes],
    result: Iterable[Planes],
    low: Planes,
    scale: int,
    on_strip: Callable[[], None] = lambda: None,
) -> tuple[Quality | None, Quality | None]:
    """Like ``measure_result``, for strips (C, rows, W) of equal heights; an image may be one strip.

    Strips of the original may be wider and, at the end, higher than those of the result.
    """
    height, width = low.shape[1] * scale, low.shape[2] * scale
    meter = QualityMeter(2)
    top = 0
    # The result first: it ends no later than the original.
    for result_strip, original_strip in zip(result, original, strict=False):
        bottom = top + result_strip.shape[1]
        # Rows of this strip that are left after shaving, counted from its own top.
        rows = slice(max(scale - top, 0), max(min(bottom, height - scale) - top, 0))
        columns = slice(scale, width - scale)
        bicubic_strip = bicubic_rows(low, scale, top, bottom)
        strips = (original_strip, result_strip, bicubic_strip)
        lumas = [protocol_luma(strip[:, rows, columns]) for strip in strips]
        if lumas[0].size:
            meter.add(*lumas)
        top = bottom
        on_strip()
    ours, bicubic = meter.results()
    return ours, bicubic


def bicubic_rows(low: Planes, scale: int, top: int, bottom: int) -> Planes:
    """Rows ``top`` to ``bottom`` of the bicubic enlargement of (C, h, w), rounded at its own depth.

    Colour is premultiplied by alpha. Only the rows of ``low`` that are needed become float.
    """
    first = max(0, top // scale - _MARGIN)
    last = -(-bottom // scale) + _MARGIN

    def rows_of(window: FloatPlane) -> FloatPlane:
        return enlarge_plane_rows(window, scale, top - first * scale, bottom - first * scale)

    shape = (low.shape[0], bottom - top, low.shape[2] * scale)
    enlarged = cast(Planes, np.empty(shape, low.dtype))
    resample(low[:, first:last], rows_of, enlarged)
    return enlarged

"""PSNR and SSIM by the protocol of the super-resolution literature.

Luma of BT.601, a border of ``scale`` pixels shaved, peak 255. PSNR from the mean squared error;
SSIM with an 11x11 Gaussian window of sigma 1.5, valid windows only (Wang et al., 2004, IEEE TIP
13(4)). Both are accumulated strip by strip, so that a 400-megapixel image needs memory for a few
hundred rows only.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superres.imaging.colour import FloatPlane

PEAK = 255.0
WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * PEAK) ** 2
C2 = (0.03 * PEAK) ** 2


@dataclass(frozen=True)
class Quality:
    """PSNR in dB against the truth (infinite when equal) and SSIM (at most 1)."""

    psnr: float
    ssim: float


def _gaussian_taps() -> NDArray[np.float32]:
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    unit_sum: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return unit_sum


_TAPS = _gaussian_taps()


def _blur(plane: FloatPlane) -> FloatPlane:
    """Gaussian mean of every valid window: (h, w) to (h - 10, w - 10)."""
    height, width = plane.shape[0] - WINDOW + 1, plane.shape[1] - WINDOW + 1
    columns = np.zeros((height, plane.shape[1]), np.float32)
    product = np.empty_like(columns)
    for offset, tap in enumerate(_TAPS):
        columns += np.multiply(plane[offset : offset + height], tap, out=product)
    rows = np.zeros((height, width), np.float32)
    product = np.empty_like(rows)
    for offset, tap in enumerate(_TAPS):
        rows += np.multiply(columns[:, offset : offset + width], tap, out=product)
    return rows


class QualityMeter:
    """Accumulates PSNR and SSIM of images against one truth over strips from top to bottom.

    The strips of the truth and of each candidate are float32 luma on [0, 255], of one size, already
    shaved. SSIM windows across two strips are counted: the last rows are carried over.
    """

    def __init__(self, candidates: int) -> None:
        """Measures ``candidates`` images at once, sharing the truth's window means."""
        self._squared_error = [0.0] * candidates
        self._similarity = [0.0] * candidates
        self._pixels = 0
        self._windows = 0
        self._carried: list[FloatPlane] | None = None

    def add(self, truth: FloatPlane, *candidates: FloatPlane) -> None:
        """Adds the next strip of the truth and of every candidate."""
        self._pixels += truth.size
        for index, candidate in enumerate(candidates):
            error = candidate - truth
            self._squared_error[index] += float(np.sum(np.square(error), dtype=np.float64))
        strips = [truth, *candidates]
        if self._carried is not None:
            pairs = zip(self._carried, strips, strict=True)
            strips = [np.concatenate((above, strip)) for above, strip in pairs]
        self._carried = [strip[-(WINDOW - 1) :] for strip in strips]
        if strips[0].shape[0] >= WINDOW and strips[0].shape[1] >= WINDOW:
            self._add_windows(strips[0], strips[1:])

    def _add_windows(self, truth: FloatPlane, candidates: list[FloatPlane]) -> None:
        # Centring on mid-grey keeps float32 exact enough: variances are differences of squares.
        truth = truth - np.float32(PEAK / 2)
        mean_t = _blur(truth)
        variance_t = _blur(truth * truth) - mean_t * mean_t
        mean_t_true = mean_t + np.float32(PEAK / 2)
        self._windows += mean_t.size
        for index, candidate in enumerate(candidates):
            centred = candidate - np.float32(PEAK / 2)
            mean_c = _blur(centred)
            variance_c = _blur(centred * centred) - mean_c * mean_c
            covariance = _blur(truth * centred) - mean_t * mean_c
            mean_c_true = mean_c + np.float32(PEAK / 2)
            similarity = (2 * mean_t_true * mean_c_true + C1) * (2 * covariance + C2)
            similarity /= mean_t_true**2 + mean_c_true**2 + C1
            similarity /= variance_t + variance_c + C2
            self._similarity[index] += float(np.sum(similarity, dtype=np.float64))

    def results(self) -> list[Quality | None]:
        """Quality of each candidate; None where the shaved image is smaller than one window."""
        if not self._windows:
            return [None] * len(self._squared_error)
        return [
            Quality(psnr_of(error / self._pixels), similarity / self._windows)
            for error, similarity in zip(self._squared_error, self._similarity, strict=True)
        ]


def psnr_of(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB for an error on the 0-255 scale; infinite for no error."""
    if mean_squared_error == 0:
        return math.inf
    return 10 * math.log10(PEAK**2 / mean_squared_error)


def decibels(psnr: float | None, unit: str = "") -> str:
    """PSNR as text: two decimals, or "equal" where it is infinite (None in records)."""
    return f"{psnr:.2f}{unit}" if psnr is not None and math.isfinite(psnr) else "equal"


def mean_quality(qualities: Iterable[Quality]) -> Quality:
    """Mean over images, as papers report it: PSNR is averaged in dB."""
    listed = list(qualities)
    return Quality(
        psnr=sum(quality.psnr for quality in listed) / len(listed),
        ssim=sum(quality.ssim for quality in listed) / len(listed),
    )


def compare(truth: FloatPlane, *candidates: FloatPlane, shave: int) -> list[Quality | None]:
    """Quality of whole (h, w) planes on [0, 255], after shaving ``shave`` pixels on each side."""
    meter = QualityMeter(len(candidates))
    inner = (slice(shave, truth.shape[0] - shave), slice(shave, truth.shape[1] - shave))
    meter.add(truth[inner], *(candidate[inner] for candidate in candidates))
    return meter.results()

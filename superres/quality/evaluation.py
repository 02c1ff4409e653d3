"""Measures PSNR and SSIM of ours and of bicubic enlargement, by one of two protocols.

``PAPER_PROTOCOL`` is that of the literature and measures a network: it reduces luma, so colour and
file formats play no part. ``superres evaluate`` uses it. ``PIPELINE_PROTOCOL`` measures the output
of the pipeline: it compares the stored result with the stored original, and with them the bicubic
enlargement of the stored low resolution. That was rounded to whole samples in R, G and B, which
costs about 0.07 dB at x2. Figures of the two protocols must not be mixed, so every record names its
protocol.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from superres.errors import ImageRejectedError
from superres.imaging.alpha import resample
from superres.imaging.colour import FloatPlane, Planes, protocol_luma
from superres.imaging.decoding import DecodedImage, decode_file
from superres.imaging.jpeg import through_jpeg
from superres.imaging.limits import Limits
from superres.imaging.names import readable, utf8_alias
from superres.imaging.resample import (
    crop_to_multiple,
    enlarge_plane,
    enlarge_plane_rows,
    resize_plane,
)
from superres.network.engine import Engine
from superres.network.tiling import with_halo
from superres.pipeline.input_folder import image_files
from superres.quality.metrics import Quality, QualityMeter, compare, mean_quality

PAPER_PROTOCOL = "bt601-y/luma-first"
PIPELINE_PROTOCOL = "bt601-y/stored-images"

# Pixels measured at a time: about fifteen float planes of this size are alive inside the meter,
# which is quickest while they stay near the processor's cache.
_STRIP_PIXELS = 1 << 19
_MIN_STRIP_ROWS = 64
# Low-resolution rows beyond a strip that its bicubic enlargement reads: the kernel reaches two.
_MARGIN = 4


@dataclass(frozen=True)
class ImageQuality:
    """One measured image: its file name, size in pixels (cropped to the scale), and qualities."""

    name: str
    width: int
    height: int
    ours: Quality
    bicubic: Quality


@dataclass(frozen=True)
class FolderQuality:
    """The images measured by ``evaluate_folder``; ``skipped`` has names and reasons of the rest."""

    folder: Path
    scale: int
    images: list[ImageQuality]
    skipped: list[tuple[str, str]]

    @property
    def ours(self) -> Quality | None:
        """Mean of ours over the images; None when none could be measured."""
        return mean_quality(image.ours for image in self.images) if self.images else None

    @property
    def bicubic(self) -> Quality | None:
        """Mean over the images of bicubic enlargement; None when none could be measured."""
        return mean_quality(image.bicubic for image in self.images) if self.images else None

    def to_dict(self) -> dict[str, Any]:
        """The means and all images in JSON types; an infinite PSNR (equal) is None."""
        return {
            "folder": str(self.folder),
            "scale": self.scale,
            "ours": _quality_dict(self.ours),
            "bicubic": _quality_dict(self.bicubic),
            "images": [
                {
                    "name": image.name,
                    "width": image.width,
                    "height": image.height,
                    "ours": _quality_dict(image.ours),
                    "bicubic": _quality_dict(image.bicubic),
                }
                for image in self.images
            ],
            "skipped": [{"name": name, "reason": reason} for name, reason in self.skipped],
        }


def _quality_dict(quality: Quality | None) -> dict[str, float | None] | None:
    if quality is None:
        return None
    return {"psnr": quality.psnr if math.isfinite(quality.psnr) else None, "ssim": quality.ssim}


def measure_luma(
    luma: FloatPlane, engine: Engine, jpeg_quality: int | None = None
) -> tuple[Quality | None, Quality | None]:
    """Quality of ours and of bicubic on one high-resolution luma plane, by the paper's protocol.

    The (H, W) luma on [0, 255] is rounded to whole levels before anything else, as MATLAB's
    ``rgb2ycbcr`` does to uint8 images; with that, bicubic on Set5 measures 33.66/30.39/28.42 dB and
    SSIM .9299/.8682/.8104, the literature's figures to the last digit (without: 33.67/30.40/28.43
    and .9302/.8687/.8108). The low resolution stays float, not rounded, unless it goes through
    JPEG at ``jpeg_quality``; both results are clipped and rounded, and ``scale`` pixels are shaved
    on each side. None for an image too small for one SSIM window.
    """
    scale = engine.scale
    truth = np.ascontiguousarray(crop_to_multiple(np.rint(luma), scale), dtype=np.float32)
    height, width = truth.shape
    if min(height, width) < scale:
        return None, None
    low = resize_plane(truth, height // scale, width // scale)
    if jpeg_quality is not None:
        low = through_jpeg(low, jpeg_quality)
    peak = np.float32(255)
    ours = engine.upscale_luma(with_halo((low / peak)[np.newaxis, np.newaxis]))[0, 0] * peak
    candidates = (_rounded(ours), _rounded(enlarge_plane(low, scale)))
    ours_quality, bicubic_quality = compare(truth, *candidates, shave=scale)
    return ours_quality, bicubic_quality


def evaluate_folder(
    folder: Path,
    engine: Engine,
    limits: Limits,
    report: Callable[[Path], None] = lambda _: None,
    jpeg_quality: int | None = None,
) -> FolderQuality:
    """Measures every image directly in a folder of high-resolution images, one after the other.

    With ``jpeg_quality``, low resolution goes through JPEG at this quality first.

    An image that cannot be decoded or is too small is skipped, with a reason. Calls
    ``report(file)`` after each file. Raises ``ConfigError`` when the folder has no images.
    """
    images: list[ImageQuality] = []
    skipped: list[tuple[str, str]] = []
    for file in image_files(folder):
        name = readable(file.name)
        try:
            with utf8_alias(file) as path:
                luma = protocol_luma(decode_file(path, limits).planes())
            ours, bicubic = measure_luma(luma, engine, jpeg_quality)
        except ImageRejectedError as error:
            skipped.append((name, str(error)))
        else:
            height, width = crop_to_multiple(luma, engine.scale).shape
            if ours is None or bicubic is None:
                reason = f"{luma.shape[1]} × {luma.shape[0]} pixels are too few to measure"
                skipped.append((name, f"{reason} at ×{engine.scale}"))
            else:
                images.append(ImageQuality(name, width, height, ours, bicubic))
        report(file)
    return FolderQuality(folder, engine.scale, images, skipped)


def measure_result(
    original: DecodedImage, result: DecodedImage, low: Planes, scale: int
) -> tuple[Quality | None, Quality | None]:
    """Quality of a stored result and of bicubic enlargement of ``low``, by the pipeline's protocol.

    ``result`` is ``scale`` times as large as ``low`` (C, h, w); of ``original`` the top left part
    of that size counts. Images are read in strips, so only ``low`` and some strips are in memory.
    For a grey result of a colour original, decode ``original`` with ``grayscale=True``. Images with
    alpha are compared as they look over mid-grey, so hidden colour does not count. None for an
    image too small for one SSIM window; an infinite PSNR means equal.

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
    return measure_strips(original.strips(rows), result.strips(rows), low, scale)


def measure_strips(
    original: Iterable[Planes], result: Iterable[Planes], low: Planes, scale: int
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


def _rounded(luma: FloatPlane) -> FloatPlane:
    """Luma on [0, 255], rounded and clipped as in an 8-bit image."""
    rounded: FloatPlane = np.clip(np.rint(luma), 0, 255)
    return rounded

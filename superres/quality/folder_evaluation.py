"""Measures a network on folders of images, by the protocol of the literature.

It reduces luma, so colour and file formats play no part. ``superres.quality.evaluation`` has the
other protocol, which measures the pipeline's output.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from superres.errors import ImageRejectedError
from superres.imaging.colour import FloatPlane, protocol_luma
from superres.imaging.decoding import decode_file
from superres.imaging.jpeg import through_jpeg
from superres.imaging.limits import Limits
from superres.imaging.names import readable, utf8_alias
from superres.imaging.resample import crop_to_multiple, enlarge_plane, resize_plane
from superres.network.engine import Engine
from superres.network.tiling import with_halo
from superres.pipeline.input_folder import image_files
from superres.quality.metrics import Quality, compare, mean_quality

PAPER_PROTOCOL = "bt601-y/luma-first"


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


def _rounded(luma: FloatPlane) -> FloatPlane:
    """Luma on [0, 255], rounded and clipped as in an 8-bit image."""
    rounded: FloatPlane = np.clip(np.rint(luma), 0, 255)
    return rounded

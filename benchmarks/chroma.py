"""Ways to enlarge the halved colour of a JPEG: what each gains over bicubic enlargement.

    .venv/bin/python benchmarks/chroma.py Set5 Set14 --quality 75

Images are reduced and saved as JPEG 4:2:0; luma is upscaled by the network for the quality. Only
the way of the colour differences differs. Prints the gain in RGB-PSNR, mean over colour images, dB.
"""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import click
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from superres.imaging.colour import (
    STUDIO_BLACK,
    STUDIO_RANGE,
    FloatPlane,
    Planes,
    full_luma,
    studio,
)
from superres.imaging.jpeg import planes_through_jpeg
from superres.imaging.resample import crop_to_multiple, enlarge_plane, reduce_planes, resize_plane
from superres.models import default_model_path, network_for
from superres.network.engine import make_engine
from superres.network.tiling import with_halo
from superres.network.weights import load_weights
from superres.pipeline.input_folder import image_files
from superres.quality.evaluation import bicubic_rows
from superres.quality.metrics import psnr_of

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)

Way = Callable[[FloatPlane, FloatPlane, int], FloatPlane]
"""Enlarges a colour difference (h, w), given luma (h, w), by a scale; levels of 255."""


def as_it_is(difference: FloatPlane, _: FloatPlane, scale: int) -> FloatPlane:
    """Bicubic enlargement, as in the pipeline."""
    return enlarge_plane(difference, scale)


def from_half(difference: FloatPlane, _: FloatPlane, scale: int) -> FloatPlane:
    """Bicubic enlargement from half the width and height, as colour is stored."""
    height, width = difference.shape
    half = resize_plane(difference, -(-height // 2), -(-width // 2))
    return resize_plane(half, height * scale, width * scale)


def blurred(difference: FloatPlane, _: FloatPlane, scale: int) -> FloatPlane:
    """Bicubic enlargement of means of 3 x 3 pixels."""
    return enlarge_plane(_mean(difference), scale)


def guided(difference: FloatPlane, luma: FloatPlane, scale: int) -> FloatPlane:
    """Bicubic enlargement after a guided filter of 3 x 3 pixels (He et al. 2010), by luma."""
    mean_luma, mean_difference = _mean(luma), _mean(difference)
    variance = _mean(luma * luma) - mean_luma**2
    slope = (_mean(luma * difference) - mean_luma * mean_difference) / (variance + 10)
    offset = mean_difference - slope * mean_luma
    return enlarge_plane(_mean(slope) * luma + _mean(offset), scale)


WAYS: dict[str, Way] = {
    "as it is": as_it_is,
    "from half the size": from_half,
    "blurred": blurred,
    "guided filter": guided,
}


def _mean(plane: FloatPlane) -> FloatPlane:
    windows = sliding_window_view(np.pad(plane, 1, "edge"), (3, 3))
    means: FloatPlane = windows.mean(axis=(2, 3), dtype=np.float32)
    return means


def psnr(truth: Planes, other: NDArray[np.floating], scale: int) -> float:
    """PSNR over red, green and blue, in dB; ``scale`` pixels are shaved."""
    error = (other - truth.astype(np.float32))[:, scale:-scale, scale:-scale]
    return psnr_of(float(np.mean(error**2)))


def gains(original: Planes, scale: int, quality: int) -> list[float]:
    """The gain of each of ``WAYS`` on (3, h, w) samples of 8 bits."""
    truth = cast(Planes, crop_to_multiple(original, scale))
    low = planes_through_jpeg(reduce_planes(original, scale), quality)
    bicubic = bicubic_rows(low, scale, 0, truth.shape[1]).astype(np.float32)
    luma = full_luma(*low.astype(np.float32))
    engine = make_engine(load_weights(default_model_path(scale, network_for(quality)), scale))
    measured = studio(luma / np.float32(255))
    upscaled = engine.upscale_luma(with_halo(measured[np.newaxis, np.newaxis]))[0, 0]
    high = (upscaled - STUDIO_BLACK) / STUDIO_RANGE
    results = []
    for way in WAYS.values():
        colours = [high * 255 + way(plane - luma, luma, scale) for plane in low.astype(np.float32)]
        ours = np.clip(np.rint(np.stack(colours)), 0, 255)
        results.append(psnr(truth, ours, scale) - psnr(truth, bicubic, scale))
    return results


@click.command()
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--scale", type=click.IntRange(2, 4), default=2, show_default=True)
@click.option("--quality", type=click.IntRange(1, 100), default=75, show_default=True)
def main(folders: tuple[Path, ...], scale: int, quality: int) -> None:
    """Measures what each way gains."""
    opened = [Image.open(file) for folder in folders for file in image_files(folder)]
    pictures = [np.asarray(image.convert("RGB")) for image in opened if image.mode != "L"]
    rows = [gains(np.moveaxis(pixels, -1, 0), scale, quality) for pixels in pictures]
    for name, gain in zip(WAYS, np.mean(rows, axis=0), strict=True):
        click.echo(f"{name}: {gain:+.2f}")


if __name__ == "__main__":
    main()

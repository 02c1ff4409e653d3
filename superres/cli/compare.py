"""``superres compare``: a web page with ours beside bicubic."""

from pathlib import Path
from typing import Any

import click

from superres.cli.networks import engine_for, model_name
from superres.cli.options import (
    FILE,
    PATH,
    config_option,
    device_option,
    grayscale_option,
    model_option,
    patch_option,
    processing_of,
    scale_option,
)
from superres.errors import ImageRejectedError
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode_file
from superres.imaging.resample import reduce_planes
from superres.pipeline.config import Processing
from superres.quality.comparison import compare_image, write_page
from superres.quality.metrics import decibels


@click.command(epilog="Example: superres compare photo.jpg --scale 2 --output photo.html")
@click.argument("file", type=FILE)
@scale_option("How many times as large.  [default: 2]")
@click.option(
    "--output", type=PATH, metavar="FILE", help="The page.  [default: here, by the image's name]"
)
@click.option("--original", type=FILE, help="The image that FILE was reduced from, to measure by.")
@click.option(
    "--as-original", is_flag=True, help="Take FILE for the original: reduce it first, then measure."
)
@model_option
@patch_option
@grayscale_option
@device_option
@config_option
def compare(
    file: Path,
    output: Path | None,
    original: Path | None,
    as_original: bool,
    config: str | None,
    **given: Any,
) -> None:
    """Make a web page to compare ours with bicubic.

    They lie upon each other, with a divider to drag. The page is one file that loads nothing else:
    send it to someone, or open it offline.
    """
    if original and as_original:
        raise click.UsageError("--original and --as-original exclude each other")
    processing = processing_of(config, **given)
    scale = processing.upscale_factor
    engine = engine_for(processing)
    low = _planes(file, processing, grayscale=processing.grayscale)
    truth = None
    if as_original:
        truth, low = low, _reduced(low, scale, file)
    elif original:
        truth = _planes(original, processing, grayscale=low.shape[0] <= 2)
    comparison = compare_image(file.name, low, processing.patch_size, engine, truth)
    target = output or Path(f"{file.stem}_x{scale}.html")
    size = write_page(comparison, target, model_name(processing, engine))
    ours, bicubic = comparison.ours_quality, comparison.bicubic_quality
    if ours and bicubic:
        click.echo(
            f"PSNR {decibels(ours.psnr, ' dB')}, bicubic {decibels(bicubic.psnr, ' dB')}; "
            f"SSIM {ours.ssim:.4f}, bicubic {bicubic.ssim:.4f}"
        )
    click.echo(f"{target} ({size / 1e6:.1f} MB)")


def _planes(file: Path, processing: Processing, *, grayscale: bool) -> Planes:
    try:
        return decode_file(file, processing.limits, grayscale=grayscale).planes()
    except ImageRejectedError as error:
        raise ImageRejectedError(f"{file}: {error}") from None


def _reduced(planes: Planes, scale: int, file: Path) -> Planes:
    if min(planes.shape[1:]) < scale:
        raise ImageRejectedError(
            f"{file}: too small to be reduced {scale} times; give a larger one"
        )
    return reduce_planes(planes, scale)

"""``superres compare``: a web page that shows the upscaled image beside bicubic enlargement."""

from pathlib import Path
from typing import Any

import click

from superres.cli.networks import Engines
from superres.cli.options import (
    FILE,
    PATH,
    config_option,
    device_option,
    grayscale_option,
    model_option,
    patch_option,
    processing_of,
    restore_option,
    scale_option,
)
from superres.errors import ImageRejectedError
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode_file
from superres.imaging.files import check_file
from superres.imaging.names import readable, utf8_alias
from superres.imaging.resample import reduce_planes
from superres.pipeline.config import Processing
from superres.quality.comparison import compare_image, write_page
from superres.quality.metrics import decibels


@click.command(epilog="Example: superres compare photo.jpg --scale 2 --output photo.html")
@click.argument("file", type=FILE)
@scale_option("configured")
@click.option(
    "--output",
    type=PATH,
    metavar="FILE",
    help="HTML file to write.  [default: NAME_xSCALE.html in the current folder]",
)
@click.option("--original", type=FILE, help="Image that FILE was reduced from; adds PSNR and SSIM.")
@click.option(
    "--as-original",
    is_flag=True,
    help="FILE is the original: reduce it, upscale it again and measure the result.",
)
@model_option
@restore_option
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
    **options: Any,
) -> None:
    """Compare an upscaled image with bicubic enlargement on a web page.

    The page shows both images with a divider to drag. It is a single HTML file that loads nothing
    else, so you can send it to someone or open it offline.
    """
    if original and as_original:
        raise click.UsageError("--original and --as-original cannot be combined")
    for given in filter(None, (file, original)):
        check_file(given)
    processing = processing_of(config, **options)
    scale = processing.upscale_factor
    engines = Engines(processing)
    # What is reduced is clean, whatever the original was.
    engine = engines.for_quality(None) if as_original else engines.for_file(file)
    low = _planes(file, processing, grayscale=processing.grayscale)
    compared = None
    if as_original:
        compared, low = low, _reduced(low, scale, file)
    elif original:
        compared = _planes(original, processing, grayscale=low.shape[0] <= 2)
    comparison = compare_image(readable(file.name), low, processing.patch_size, engine, compared)
    target = output or Path(f"{file.stem}_x{scale}.html")
    size = write_page(comparison, target, engines.name_of(engine))
    ours, bicubic = comparison.ours_quality, comparison.bicubic_quality
    if ours and bicubic:
        click.echo(
            f"PSNR {decibels(ours.psnr, ' dB')}, bicubic {decibels(bicubic.psnr, ' dB')}; "
            f"SSIM {ours.ssim:.4f}, bicubic {bicubic.ssim:.4f}"
        )
    click.echo(f"{readable(str(target))} ({size / 1e6:.1f} MB)")


def _planes(file: Path, processing: Processing, *, grayscale: bool) -> Planes:
    try:
        with utf8_alias(file) as path:
            return decode_file(path, processing.limits, grayscale=grayscale).planes()
    except ImageRejectedError as error:
        raise ImageRejectedError(f"{readable(str(file))}: {error}") from None


def _reduced(planes: Planes, scale: int, file: Path) -> Planes:
    if min(planes.shape[1:]) < scale:
        raise ImageRejectedError(f"{file}: too small to be reduced by {scale}; use a larger image")
    return reduce_planes(planes, scale)

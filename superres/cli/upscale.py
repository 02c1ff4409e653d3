"""``superres upscale``: upscales files and folders, without Spark."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import click

from superres.cli.networks import Engines
from superres.cli.options import (
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
from superres.cli.terminal import print_message, print_result, progress_bar
from superres.errors import ImageRejectedError, StorageError, SuperresError
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode_file
from superres.imaging.files import image_files
from superres.imaging.png import encode_png
from superres.network.upscaling import upscale_image, upscaled_info
from superres.pipeline.config import Processing


@click.command(epilog="Example: superres upscale holiday/ portrait.jpg --scale 4 --output large")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIR...", type=PATH)
@scale_option("configured")
@click.option(
    "--output",
    type=PATH,
    default=Path(),
    metavar="DIR",
    help="Output folder.  [default: the current folder]",
)
@model_option
@restore_option
@patch_option
@grayscale_option
@device_option
@config_option
def upscale(inputs: tuple[Path, ...], output: Path, config: str | None, **options: Any) -> None:
    """Upscale images: photo.jpg becomes photo_x2.png in the output folder.

    A folder means the images directly in it. Orientation, transparency and 16-bit depth are kept;
    colours become sRGB. Images that cannot be read are reported and left out.
    """
    processing = processing_of(config, **options)
    work = _planned(_sources(inputs), processing.upscale_factor, output)
    engines = Engines(processing)
    output.mkdir(parents=True, exist_ok=True)
    begun, failed = time.monotonic(), 0
    with progress_bar() as progress:
        task = progress.add_task("Upscaling", total=len(work))
        for source, target in work:
            try:
                _upscale_file(
                    source, target, processing, engines, lambda f: progress.advance(task, f)
                )
                print_result(progress, str(target))
            except (ImageRejectedError, StorageError) as error:
                failed += 1
                print_message(progress, f"superres: {_line_for(source, error)}")
    images = f"{len(work) - failed} image{'' if len(work) - failed == 1 else 's'}"
    left_out = f", {failed} left out" if failed else ""
    seconds = time.monotonic() - begun
    models = f"; model {engines.names}" if engines.names else ""
    click.echo(f"{images} upscaled in {seconds:.1f} s{left_out}{models}", err=True)
    if failed:
        click.get_current_context().exit(1)


def _line_for(source: Path, error: SuperresError) -> str:
    return str(error) if str(source) in str(error) else f"{source}: {error}"


def _sources(inputs: Iterable[Path]) -> list[Path]:
    """The files, with the images directly in each folder; every file once."""
    found: dict[Path, Path] = {}
    for given in inputs:
        for file in image_files(given) if given.is_dir() else [given]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _planned(sources: list[Path], scale: int, output: Path) -> list[tuple[Path, Path]]:
    """A target for each source; equal names get a number, and no source is ever overwritten."""
    # Casefolded, since on some file systems a.png and A.PNG are the same file.
    taken = {str(source.resolve()).casefold() for source in sources}
    plan = []
    for source in sources:
        names = (f"{source.stem}{f'-{n}' if n > 1 else ''}_x{scale}.png" for n in count(1))
        target = next(
            output / name
            for name in names
            if str((output / name).resolve()).casefold() not in taken
        )
        taken.add(str(target.resolve()).casefold())
        plan.append((source, target))
    return plan


def _upscale_file(
    source: Path,
    target: Path,
    processing: Processing,
    engines: Engines,
    advance: Callable[[float], object],
) -> None:
    """Upscales one file, whole or not at all; calls ``advance`` with each fraction done."""
    image = decode_file(source, processing.limits, grayscale=processing.grayscale)
    info = upscaled_info(image.info, processing.upscale_factor)

    def strips() -> Iterator[Planes]:
        for strip in upscale_image(image, processing.patch_size, engines.for_file(source)):
            yield strip
            advance(strip.shape[1] / info.height)

    encode_png(strips(), info, target)

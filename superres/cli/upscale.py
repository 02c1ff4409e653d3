"""``superres upscale``: upscales files and folders, without Spark."""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from superres.cli.execution import exit_code, file_system_error
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
from superres.cli.output_options import (
    format_option,
    metadata_option,
    named_file,
    profile_option,
    quality_option,
    with_output,
)
from superres.cli.terminal import print_message, print_result, progress_bar
from superres.errors import ConfigError, ImageRejectedError, StorageError, SuperresError
from superres.imaging.colour import Planes
from superres.imaging.encoding.formats import FORMATS, FormatName
from superres.imaging.files import sha256_of
from superres.imaging.metadata.model import Policy
from superres.imaging.names import readable, utf8_alias
from superres.network.upscaling import upscale_image, upscaled_info
from superres.pipeline.config import Processing
from superres.pipeline.input_folder import images_of
from superres.pipeline.output_folder import OutputFolder
from superres.pipeline.recipe import ProfilePolicy, Recipe
from superres.pipeline.records import applied_recipe
from superres.pipeline.result_file import Source, decode_source, encoding_of, write_result


@click.command(epilog="Example: superres upscale holiday/ portrait.jpg --scale 4 --output large")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIR...", type=PATH)
@scale_option("configured")
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path(),
    metavar="DIR|FILE",
    help="Output folder, or the file for a single image.  [default: the current folder]",
)
@format_option
@quality_option
@metadata_option
@profile_option
@click.option(
    "--page",
    type=click.IntRange(min=1),
    metavar="N",
    help="Page of a TIFF, or frame of an animation.  [default: the first that is no thumbnail]",
)
@model_option
@restore_option
@patch_option
@grayscale_option
@device_option
@config_option
def upscale(
    inputs: tuple[Path, ...],
    output: Path,
    format_name: FormatName | None,
    quality: int | None,
    metadata: Policy,
    profile: ProfilePolicy,
    page: int | None,
    config: str | None,
    **options: Any,
) -> None:
    """Upscale images: photo.jpg becomes photo_x2.png in the output folder.

    A folder means the images directly in it. Orientation, transparency, 16-bit depth and metadata
    are kept; colours become sRGB. Images that cannot be read, or that the format cannot hold, are
    reported and left out. A result is only replaced by one of the same file, which
    superres-results.json in the output folder remembers.
    """
    processing = processing_of(config, **options)
    sources, remarks = images_of(inputs)
    for remark in remarks:
        click.echo(f"superres: {remark}", err=True)
    if not sources:
        raise ConfigError("nothing is left to upscale; give images, or folders of images")
    file = named_file(output)
    if file and len(sources) > 1:
        raise click.UsageError(
            f"--output {file} is one file, and there are {len(sources)} images; give a folder"
        )
    engines = Engines(processing)
    recipe = with_output(
        engines.recipe,
        file,
        format_name=format_name,
        quality=quality,
        metadata=metadata,
        profile=profile,
    )
    folder = OutputFolder(
        file.parent if file else output,
        processing.upscale_factor,
        applied_recipe(recipe),
        suffix=FORMATS[recipe.format].suffix,
        only_name=file.name if file else None,
    )
    begun, failed = time.monotonic(), 0
    with progress_bar() as progress:
        task = progress.add_task("Upscaling", total=len(sources))
        for source in sources:
            try:
                result = _upscale_file(
                    source,
                    page,
                    folder,
                    recipe,
                    processing,
                    engines,
                    lambda f: progress.advance(task, f),
                    lambda line: print_message(progress, line),
                )
            except (ImageRejectedError, StorageError, OSError) as error:
                failed += 1
                print_message(progress, f"superres: {_line_for(source, error)}")
            else:
                print_result(progress, str(result))
    images = f"{len(sources) - failed} image{'' if len(sources) - failed == 1 else 's'}"
    left_out = f", {failed} left out" if failed else ""
    seconds = time.monotonic() - begun
    models = f"; model {engines.names}" if engines.names else ""
    click.echo(f"{images} upscaled in {seconds:.1f} s{left_out}{models}", err=True)
    click.get_current_context().exit(exit_code(len(sources) - failed, failed))


def _line_for(source: Path, error: SuperresError | OSError) -> str:
    name = readable(str(source))
    line = file_system_error(error) if isinstance(error, OSError) else str(error)
    return line if name in line else f"{name}: {line}"


def _tell(source: Path, lines: Iterable[str], remark: Callable[[str], object]) -> None:
    for line in lines:
        remark(f"superres: {readable(str(source))}: {line}")


def _upscale_file(
    source: Path,
    page: int | None,
    folder: OutputFolder,
    recipe: Recipe,
    processing: Processing,
    engines: Engines,
    advance: Callable[[float], object],
    remark: Callable[[str], object],
) -> Path:
    """Upscales one file, whole or not at all.

    Calls ``advance`` with each fraction done, and ``remark`` with what is to be said of the file.
    """
    digest = sha256_of(source)
    with utf8_alias(source) as file, folder.unfinished() as unfinished:
        image = decode_source(file, processing.limits, recipe, page)
        info = upscaled_info(image.info, processing.upscale_factor)
        encoding_of(recipe).check(info)
        _tell(source, image.remarks, remark)
        engine = engines.for_file(file)

        def strips() -> Iterator[Planes]:
            for strip in upscale_image(image, processing.patch_size, engine):
                yield strip
                advance(strip.shape[1] / info.height)

        network = f"{engines.file_name_of(engine)}, SHA-256 {engine.digest}"
        origin = Source(image.info, image.metadata(), image.profile)
        remarks = write_result(strips(), info, unfinished, recipe, origin, network)
        _tell(source, remarks, remark)
        return folder.add(unfinished, source, digest, engine.digest, page)

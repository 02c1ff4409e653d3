"""``superres evaluate``: PSNR and SSIM on folders of images."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from superres.cli.execution import SOME_FAILED
from superres.cli.networks import Engines
from superres.cli.options import (
    DIR,
    config_option,
    config_or_default,
    device_option,
    model_option,
    processing_of,
    restore_option,
    scale_option,
)
from superres.cli.terminal import print_message, progress_bar
from superres.errors import ConfigError
from superres.pipeline.config import Restore
from superres.pipeline.config_file import load_settings
from superres.pipeline.input_folder import image_files, listed
from superres.quality.folder_evaluation import PAPER_PROTOCOL, FolderQuality, evaluate_folder
from superres.quality.metrics import Quality, decibels


@click.command(epilog="Example: superres evaluate Set5 Set14 --scale 2 --details")
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=DIR)
@scale_option("2, 3 and 4")
@model_option
@restore_option
@click.option(
    "--jpeg-quality",
    type=click.IntRange(1, 100),
    help="Save the low resolution as JPEG at this quality before upscaling it.  "
    "[default: configured]",
)
@click.option("--details", is_flag=True, help="Also print each image.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of tables.")
@device_option
@config_option
def evaluate(
    folders: tuple[Path, ...],
    scale: int | None,
    model: str | None,
    restore: Restore | None,
    jpeg_quality: int | None,
    details: bool,
    as_json: bool,
    device: str | None,
    config: str | None,
) -> None:
    """Measure PSNR and SSIM of the network on folders of images.

    Follows the protocol of the literature: the luma of each image is reduced bicubically, upscaled
    by the network and enlarged bicubically, and both are compared with the original; a border of
    SCALE pixels is shaved. Images that cannot be measured are reported and skipped.
    """
    if model and not scale:
        raise click.UsageError("--model needs --scale: a checkpoint is for one scale")
    if jpeg_quality is None:
        jpeg_quality = load_settings(config_or_default(config)).evaluate.jpeg_quality
    scales = [scale] if scale else [2, 3, 4]
    models, results, skipped = {}, [], set()
    with progress_bar() as progress:
        for remark in (remark for folder in folders for remark in listed(folder).remarks):
            print_message(progress, f"superres: {remark}")
        total = len(scales) * sum(len(image_files(folder)) for folder in folders)
        task = progress.add_task("Measuring", total=total)
        for each in scales:
            processing = processing_of(
                config, scale=each, model=model, restore=restore, device=device
            )
            engines = Engines(processing)
            engine = engines.for_quality(jpeg_quality)
            models[each] = engines.name_of(engine)
            for folder in folders:
                result = evaluate_folder(
                    folder,
                    engine,
                    processing.limits,
                    lambda _: progress.advance(task),
                    jpeg_quality,
                )
                results.append(result)
                for name, reason in result.skipped:
                    line = f"superres: {folder / name}: skipped: {reason}"
                    if line not in skipped:  # the same at every scale
                        print_message(progress, line)
                    skipped.add(line)
    if not any(result.images for result in results):
        raise ConfigError("no image could be measured; use larger images")
    if as_json:
        measured = [result.to_dict() for result in results]
        content = {
            "protocol": PAPER_PROTOCOL,
            "jpeg_quality": jpeg_quality,
            "models": models,
            "results": measured,
        }
        click.echo(json.dumps(content, indent=2))
    else:
        show_qualities(results, details=details)
        jpeg = f", JPEG of quality {jpeg_quality}" if jpeg_quality else ""
        click.echo(f"Protocol {PAPER_PROTOCOL}{jpeg}; models {', '.join(models.values())}")
    click.get_current_context().exit(SOME_FAILED if skipped else 0)


def show_qualities(results: Sequence[FolderQuality], *, details: bool) -> None:
    """Prints a table with a line per folder and scale; ``details`` adds a line per image."""
    names = {result.folder: result.folder.resolve().name for result in results}
    if len(set(names.values())) < len(names):
        names = {folder: str(folder) for folder in names}
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("PSNR dB / SSIM", overflow="fold")
    for heading in ("scale", "images", "bicubic", "ours", "gain"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        for image in result.images if details else ():
            figures = _figures(image.bicubic, image.ours)
            table.add_row(f"  {image.name}", f"×{result.scale}", "", *figures)
        if result.ours and result.bicubic:
            figures = _figures(result.bicubic, result.ours)
            row = (names[result.folder], f"×{result.scale}", str(len(result.images)), *figures)
            table.add_row(*row, style="bold", end_section=details)
    Console(highlight=False, markup=False).print(table)


def _figures(bicubic: Quality, ours: Quality) -> list[str]:
    gain = ours.psnr - bicubic.psnr
    pairs = [f"{decibels(quality.psnr)} / {quality.ssim:.4f}" for quality in (bicubic, ours)]
    return [*pairs, f"{gain:+.2f} dB" if math.isfinite(gain) else ""]

"""The commands of the core: upscale, evaluate, compare and train.

Each reads its defaults from the configuration and leaves the work to a module of its own. Those are
imported inside the commands, so that ``superres --help`` answers at once.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from superres.errors import (
    ConfigError,
    ImageRejectedError,
    PrerequisiteError,
    StorageError,
    SuperresError,
)
from superres.options import (
    DIR,
    FILE,
    PATH,
    config_option,
    device_option,
    engine_for,
    grayscale_option,
    model_name,
    model_option,
    patch_option,
    processing_of,
    scale_option,
)

if TYPE_CHECKING:
    from superres.colour import Planes
    from superres.config import Processing
    from superres.engine import Engine

INTERRUPTED = 130

# ---- upscale


@click.command(epilog="Example: superres upscale holiday/ portrait.jpg --scale 4 --output large")
@click.argument("inputs", nargs=-1, required=True, metavar="FILE|DIR...", type=PATH)
@scale_option("How many times as large.  [default: 2]")
@click.option("--output", type=PATH, default=Path(), metavar="DIR", help="[default: here]")
@model_option
@patch_option
@grayscale_option
@device_option
@config_option
def upscale(inputs: tuple[Path, ...], output: Path, config: str | None, **given: Any) -> None:
    """Enlarge images; photo.jpg becomes photo_x2.png in the output folder.

    A folder stands for the images directly in it. Orientation, transparency and 16 bits are kept;
    colours become sRGB. An image that cannot be read is named, and the others are done.
    """
    from superres.terminal import progress_bar, remark, tell

    processing = processing_of(config, **given)
    work = _planned(_sources(inputs), processing.upscale_factor, output)
    engine = engine_for(processing)
    output.mkdir(parents=True, exist_ok=True)
    begun, failed = time.monotonic(), 0
    with progress_bar() as progress:
        task = progress.add_task("Enlarging", total=len(work))
        for source, target in work:
            try:
                _upscale_file(
                    source, target, processing, engine, lambda f: progress.advance(task, f)
                )
                tell(progress, str(target))
            except (ImageRejectedError, StorageError) as error:
                failed += 1
                remark(progress, f"superres: {_naming(source, error)}")
    images = f"{len(work) - failed} image{'' if len(work) - failed == 1 else 's'}"
    left_out = f", {failed} left out" if failed else ""
    seconds = time.monotonic() - begun
    model = model_name(processing, engine)
    click.echo(f"{images} enlarged in {seconds:.1f} s{left_out}; model {model}", err=True)
    if failed:
        click.get_current_context().exit(1)


def _naming(source: Path, error: SuperresError) -> str:
    return str(error) if str(source) in str(error) else f"{source}: {error}"


def _sources(inputs: Iterable[Path]) -> list[Path]:
    """The files meant, folders replaced by the images directly in them; each once."""
    from superres.images import image_files

    found: dict[Path, Path] = {}
    for given in inputs:
        for file in image_files(given) if given.is_dir() else [given]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _planned(sources: list[Path], scale: int, output: Path) -> list[tuple[Path, Path]]:
    """A target for each source; equal names get a number, and no source is ever written over."""
    # Casefolded, since some file systems do not tell a.png from A.PNG.
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
    processing: "Processing",
    engine: "Engine",
    advance: Callable[[float], object],
) -> None:
    """Enlarges one file, whole or not at all; ``advance`` is told the fractions done."""
    from superres.images import decode_file
    from superres.png import encode_png
    from superres.upscaling import enlarge_image, enlarged_info

    image = decode_file(source, processing.limits, grayscale=processing.grayscale)
    info = enlarged_info(image.info, processing.upscale_factor)

    def strips() -> "Iterator[Planes]":
        for strip in enlarge_image(image, processing.patch_size, engine):
            yield strip
            advance(strip.shape[1] / info.height)

    encode_png(strips(), info, target)


# ---- evaluate


@click.command(epilog="Example: superres evaluate Set5 Set14 --scale 2 --details")
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=DIR)
@scale_option("Measure at one scale.  [default: 2, 3 and 4]")
@model_option
@click.option("--details", is_flag=True, help="Show each image too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object instead of tables.")
@device_option
@config_option
def evaluate(
    folders: tuple[Path, ...],
    scale: int | None,
    model: str | None,
    details: bool,
    as_json: bool,
    device: str | None,
    config: str | None,
) -> None:
    """Measure the network on folders of images, as the papers do.

    The images are the high resolution. Their luma is reduced bicubically, enlarged by the network
    and bicubically, and compared with what it was: PSNR and SSIM, a border of as many pixels as the
    scale left out. An image that cannot be measured is named, and the others are done.
    """
    if model and not scale:
        raise click.UsageError("--model needs --scale: a checkpoint is made for one")
    from superres.evaluation import PAPER_PROTOCOL, evaluate_folder
    from superres.images import image_files
    from superres.terminal import progress_bar, remark, show_qualities

    scales = [scale] if scale else [2, 3, 4]
    models, results, told = {}, [], set()
    with progress_bar() as progress:
        total = len(scales) * sum(len(image_files(folder)) for folder in folders)
        task = progress.add_task("Measuring", total=total)
        for each in scales:
            processing = processing_of(config, scale=each, model=model, device=device)
            engine = engine_for(processing)
            models[each] = model_name(processing, engine)
            for folder in folders:
                result = evaluate_folder(
                    folder, engine, processing.limits, lambda _: progress.advance(task)
                )
                results.append(result)
                for name, reason in result.skipped:
                    line = f"superres: {folder / name}: skipped: {reason}"
                    if line not in told:  # the same at every scale
                        remark(progress, line)
                    told.add(line)
    if not any(result.images for result in results):
        raise ConfigError("no image could be measured; give a folder of larger images")
    if as_json:
        measured = [result.to_dict() for result in results]
        content = {"protocol": PAPER_PROTOCOL, "models": models, "results": measured}
        click.echo(json.dumps(content, indent=2))
    else:
        show_qualities(results, details=details)
        click.echo(f"Protocol {PAPER_PROTOCOL}; models {', '.join(models.values())}")
    if told:
        click.get_current_context().exit(1)


# ---- compare


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
    from superres.comparison import compare_image, write_page
    from superres.metrics import decibels

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


def _planes(file: Path, processing: "Processing", *, grayscale: bool) -> "Planes":
    from superres.images import decode_file

    try:
        return decode_file(file, processing.limits, grayscale=grayscale).planes()
    except ImageRejectedError as error:
        raise ImageRejectedError(f"{file}: {error}") from None


def _reduced(planes: "Planes", scale: int, file: Path) -> "Planes":
    from superres.resample import reduce_planes

    if min(planes.shape[1:]) < scale:
        raise ImageRejectedError(
            f"{file}: too small to be reduced {scale} times; give a larger one"
        )
    return reduce_planes(planes, scale)


# ---- train


@click.command(
    epilog="Example: superres train --data T91 --data General-100 --scale 2 --output training"
)
@click.option(
    "--data",
    "folders",
    type=DIR,
    multiple=True,
    required=True,
    help="Folder of images; may be given again. Each tenth image of the last one validates.",
)
@scale_option("Train for this scale.  [default: 2]")
@click.option(
    "--output",
    type=PATH,
    default=Path("output/training"),
    metavar="DIR",
    show_default=True,
    help="Gets the weights, the ONNX export, the curve and the checkpoint to go on from.",
)
@click.option("--iterations", type=click.IntRange(1), default=50_000, show_default=True)
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--patch",
    type=click.IntRange(8),
    default=32,
    show_default=True,
    help="Side of a training crop in low-resolution pixels.",
)
@click.option(
    "--learning-rate", type=click.FloatRange(0, min_open=True), default=3e-3, show_default=True
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--start-from",
    type=FILE,
    help="Checkpoint of any scale (its name must tell: …x2…) to take all layers but the last from.",
)
@click.option(
    "--check-every",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Iterations between two validations; each saves the checkpoint.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads of torch on a CPU. With more than there are free cores, training crawls.",
)
@click.option(
    "--compile/--no-compile",
    "compile_network",
    default=False,
    show_default=True,
    help="Compile the network first: faster, but needs a C++ compiler.",
)
def train(
    folders: tuple[Path, ...],
    scale: int | None,
    output: Path,
    iterations: int,
    batch: int,
    patch: int,
    learning_rate: float,
    seed: int,
    threads: int,
    **options: Any,
) -> None:
    """Train the network, or go on where the same command was stopped.

    Stop it with Ctrl-C at any time: what the last validation saved is kept, and the result is the
    same as without the stop.
    """
    try:
        import torch

        from superres.training import Schedule
        from superres.training import train as train_network
    except ImportError as error:
        raise PrerequisiteError(
            f"train needs {error.name or error}, which is not installed; install superres[train]"
        ) from error
    from superres.terminal import TrainingBar

    torch.set_num_threads(threads)
    schedule = Schedule(scale or 2, iterations, batch, patch, learning_rate, seed)
    try:
        with TrainingBar(schedule.scale, iterations) as bar:
            weights = train_network(list(folders), output, schedule, report=bar.report, **options)
    except KeyboardInterrupt:
        click.echo(f"superres: stopped {bar.where}; the same command goes on from there", err=True)
        click.get_current_context().exit(INTERRUPTED)
    click.echo(str(weights))

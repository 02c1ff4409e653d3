"""``superres train``: trains the network and shows its progress."""

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import TextColumn

from superres.cli.execution import INTERRUPTED
from superres.cli.options import DIR, FILE, JPEG_QUALITIES, PATH, scale_option
from superres.cli.terminal import print_message, progress_bar
from superres.errors import PrerequisiteError

if TYPE_CHECKING:
    from superres.training.train import Progress as TrainingProgress


@click.command(
    epilog="Example: superres train --data T91 --data General-100 --scale 2 --output training"
)
@click.option(
    "--data",
    "folders",
    type=DIR,
    multiple=True,
    required=True,
    help="Folder of images; repeatable. Every tenth image of the last folder is for validation.",
)
@scale_option("2")
@click.option(
    "--output",
    type=PATH,
    default=Path("output/training"),
    metavar="DIR",
    show_default=True,
    help="Output folder for the weights, the ONNX export, the training curve and the checkpoint to "
    "resume from.",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    default=50_000,
    show_default=True,
    help="Training steps in all.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=8, show_default=True, help="Crops in a step."
)
@click.option(
    "--patch",
    type=click.IntRange(8),
    default=32,
    show_default=True,
    help="Side of a training crop in low-resolution pixels.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=3e-3,
    show_default=True,
    help="Learning rate after the warm-up; it decays to zero.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the random numbers.",
)
@click.option(
    "--start-from",
    type=FILE,
    help="Start from this checkpoint; of another scale, all layers but the last are reused. The "
    "file name must contain x2, x3 or x4.",
)
@click.option(
    "--jpeg",
    "qualities",
    type=JPEG_QUALITIES,
    help="Train for photographs that were saved as JPEG at such a quality, as in 70-85.",
)
@click.option(
    "--half-precision/--single-precision",
    default=False,
    show_default=True,
    help="Train for engines that compute in bfloat16 too.",
)
@click.option(
    "--check-every",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Iterations between validations; each one saves the checkpoint.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Device to train on.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="CPU threads for torch; more threads than free cores slow training down badly.",
)
@click.option(
    "--compile/--no-compile",
    "compile_network",
    default=False,
    show_default=True,
    help="Compile the network first; faster, but needs a C++ compiler.",
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
    qualities: tuple[int, int] | None,
    half_precision: bool,
    threads: int,
    **options: Any,
) -> None:
    """Train the network, or resume a stopped training with the same command.

    Stop it with Ctrl-C at any time: it resumes from the checkpoint of the last validation, and the
    result is the same as without the stop.
    """
    try:
        import torch

        from superres.training.train import Schedule
        from superres.training.train import train as train_network
    except ImportError as error:
        raise PrerequisiteError(
            f"train needs {error.name or error}, which is not installed; install superres[train]"
        ) from error
    torch.set_num_threads(threads)
    schedule = Schedule(
        scale or 2, iterations, batch, patch, learning_rate, seed, qualities, half_precision
    )
    try:
        with TrainingBar(schedule.scale, iterations) as bar:
            weights = train_network(list(folders), output, schedule, report=bar.report, **options)
    except (KeyboardInterrupt, SystemExit) as ended:
        with suppress(OSError):  # the terminal may be gone
            click.echo(f"superres: stopped {bar.where}; run the same command to resume", err=True)
        code = ended.code if isinstance(ended, SystemExit) else INTERRUPTED
        click.get_current_context().exit(int(code or 0))
    click.echo(str(weights))


class TrainingBar:
    """Shows the progress of training: a bar on a terminal, and a line for every validation."""

    def __init__(self, scale: int, iterations: int) -> None:
        """Shows a training of ``iterations`` in all."""
        figures = TextColumn("{task.completed:.0f} of {task.total:.0f}  {task.fields[figures]}")
        self._bar = progress_bar(figures)
        self._task = self._bar.add_task(f"Training ×{scale}", total=iterations, figures="")
        self._total = iterations
        self._began = False
        self._saved: int | None = None
        self._loss = math.nan
        self._psnr = ""

    def __enter__(self) -> "TrainingBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def report(self, iteration: int, loss: float, progress: "TrainingProgress | None") -> None:
        """The ``report`` callback of ``superres.training.train.train``."""
        if not self._began:
            # Iterations before a resume do not count for the speed.
            self._bar.reset(self._task, completed=iteration - 1)
            self._began = True
        if not math.isnan(loss):
            smooth = loss if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * loss
            self._loss = smooth
        if progress:
            self._saved = iteration
            self._psnr = f"  PSNR {progress.validation_psnr:.2f} dB"
            print_message(
                self._bar,
                f"iteration {iteration} of {self._total}: loss {progress.loss:.3e}, "
                f"validation PSNR {progress.validation_psnr:.2f} dB",
            )
        figures = f"loss {self._loss:.2e}{self._psnr}"
        self._bar.update(self._task, completed=iteration, figures=figures)

    @property
    def where(self) -> str:
        """The last point that is saved, as the end of "stopped …"."""
        if self._saved is None:
            return "before its first validation here"
        return f"after the validation of iteration {self._saved}"

"""What the command line shows: complaints, progress bars and tables.

Results go to standard output, the rest to standard error; a bar appears only on a terminal.
"""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from superres.evaluation import FolderQuality
from superres.metrics import Quality, decibels

if TYPE_CHECKING:
    from superres.training import Progress as TrainingProgress


class _Count(ProgressColumn):
    """How many are done, and of how many where that is known."""

    def render(self, task: Task) -> Text:
        of_all = "" if task.total is None else f" of {task.total:.0f}"
        return Text(f"{task.completed:.0f}{of_all}")


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A progress bar on standard error; ``columns`` stand between bar and time left."""
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(columns or (_Count(),)),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        refresh_per_second=4,
        transient=True,
        redirect_stdout=False,  # it would send what others are to read to standard error
        redirect_stderr=False,
    )


def tell(progress: Progress, line: str) -> None:
    """A line of result on standard output, above the bar where both share one terminal."""
    if sys.stdout.isatty() and not progress.disable:
        progress.console.print(line)
    else:
        click.echo(line)


def remark(progress: Progress, line: str) -> None:
    """A line on standard error, above the bar."""
    progress.console.print(line)


class TrainingBar:
    """Shows a training: a bar on a terminal, and a line for every validation anywhere."""

    def __init__(self, scale: int, iterations: int) -> None:
        """For a training of so many ``iterations`` in all."""
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
        """Takes what ``superres.training.train`` reports after each step."""
        if not self._began:
            # Where a training goes on from is no speed.
            self._bar.reset(self._task, completed=iteration - 1)
            self._began = True
        if not math.isnan(loss):
            smooth = loss if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * loss
            self._loss = smooth
        if progress:
            self._saved = iteration
            self._psnr = f"  PSNR {progress.validation_psnr:.2f} dB"
            remark(
                self._bar,
                f"iteration {iteration} of {self._total}: loss {progress.loss:.3e}, "
                f"validation PSNR {progress.validation_psnr:.2f} dB",
            )
        figures = f"loss {self._loss:.2e}{self._psnr}"
        self._bar.update(self._task, completed=iteration, figures=figures)

    @property
    def where(self) -> str:
        """What a stop now keeps."""
        if self._saved is None:
            return "before its first validation here"
        return f"after the validation of iteration {self._saved}"


def show_qualities(results: Sequence[FolderQuality], *, details: bool) -> None:
    """Prints a table with a line per folder and scale, or per image and then the mean."""
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

"""What the command line shows: complaints and progress bars.

Results go to standard output, the rest to standard error; a bar appears only on a terminal.
"""

import sys

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


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

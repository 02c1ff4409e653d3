"""Output of the commands: results, messages and progress bars.

Results go to standard output, the rest to standard error; bars appear only on a terminal.
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

from superres.imaging.names import readable


class _Count(ProgressColumn):
    """The number completed, and the total where it is known."""

    def render(self, task: Task) -> Text:
        of_all = "" if task.total is None else f" of {task.total:.0f}"
        return Text(f"{task.completed:.0f}{of_all}")


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A progress bar on standard error; ``columns`` go between the bar and the time left."""
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
        redirect_stdout=False,  # else results would go to standard error
        redirect_stderr=False,
    )


def print_result(progress: Progress, line: str) -> None:
    """Prints a line on standard output, above the bar if both are on one terminal."""
    line = readable(line)
    if sys.stdout.isatty() and not progress.disable:
        progress.console.print(line)
    else:
        click.echo(line)


def print_message(progress: Progress, line: str) -> None:
    """Prints a line on standard error, above the bar."""
    progress.console.print(readable(line))

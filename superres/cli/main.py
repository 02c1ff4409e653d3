"""The command line ``superres``: finds the command that was asked for and runs it.

Every command is an entry point of the group ``superres.commands`` (pyproject.toml). So the core
has ``superres run`` without importing the jobs, and only the module of the command that is called
is imported. Results and names of written files go to standard output, progress and errors to
standard error. Exit codes are those of ``superres.cli.execution``.
"""

import ast
import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

import click

from superres import __version__
from superres.cli.execution import execute as execute_command
from superres.errors import PrerequisiteError
from superres.service.leaving import exit_process
from superres.service.signals import handle_ending

GROUP = "superres.commands"


def main() -> None:
    """Entry point of the console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Output(sys.stdout)
    handle_ending()
    exit_process(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; prints an error as one line on stderr."""
    return execute_command(cli, arguments, "superres", prefix="superres: ")


class _Output(io.TextIOWrapper):
    """Standard output, whose errors say that it is the one that failed.

    As Python does for standard error: no file name, and no terminal's encoding, ends a command.
    """

    def __init__(self, output: io.TextIOWrapper) -> None:
        encoding, at_lines = output.encoding, output.line_buffering
        super().__init__(output.detach(), encoding, "backslashreplace", line_buffering=at_lines)

    def write(self, text: str) -> int:
        with self._named_errors():
            return super().write(text)

    def flush(self) -> None:
        with self._named_errors():
            super().flush()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = "standard output"
            raise


class _Commands(click.Group):
    """The commands of all installed packages."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_installed())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every command, and Spark with them, for one line each.
        rows = [(name, _summary(point)) for name, point in sorted(_installed().items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = _installed().get(cmd_name)
        return None if point is None else _load(point)


def _installed() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _summary(point: EntryPoint) -> str:
    """The first line of the command's docstring, read without importing its module."""
    try:
        spec = find_spec(point.module)
        source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    except (ImportError, OSError):
        return ""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == point.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _load(point: EntryPoint) -> click.Command:
    """The command; if a library is missing, a command that reports this when it is called."""
    try:
        command: click.Command = point.load()
    except ImportError as error:
        remedy = _remedy(point)
        message = f"{point.name} needs {error.name or error}, which is not installed; {remedy}"

        def fail() -> None:
            raise PrerequisiteError(message)

        # Accepts all arguments, so that this is the reason that is printed and no other.
        return click.Command(
            point.name,
            callback=fail,
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
    return command


def _remedy(point: EntryPoint) -> str:
    if point.module.startswith("superres."):
        return "install superres again"
    # The wheel's extra has the command's name, unless the entry point names another one.
    return f"install superres[{point.extras[0] if point.extras else point.name}]"


@click.group(cls=_Commands, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="superres", message="%(prog)s %(version)s")
def cli() -> None:
    """Upscale images two, three or four times with FSRCNN."""

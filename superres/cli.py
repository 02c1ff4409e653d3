"""The command line ``superres``: upscale, evaluate, compare, train, estimate, and what others add.

A package adds a command by an entry point of the group ``superres.commands``; so there is a
``superres run`` though the core knows nothing of the jobs. Exit codes: 0 all done; 1 an error, told
in one line, or images that had to be left out; 2 wrong usage; 130 stopped by Ctrl-C. Results and
names of written files go to standard output, progress and complaints to standard error.
"""

import ast
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

import click

from superres import __version__
from superres.commands import INTERRUPTED, compare, evaluate, train, upscale
from superres.errors import PrerequisiteError, SuperresError
from superres.estimate import estimate

PLUGINS = "superres.commands"


def main() -> None:
    """Entry point of the console script."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; an error becomes one line on standard error."""
    try:
        code = cli.main(args=list(arguments), prog_name="superres", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped")
        return INTERRUPTED
    except SuperresError as error:
        _complain(str(error))
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        return 1
    return code if isinstance(code, int) else 0


def _complain(message: str) -> None:
    click.echo(f"superres: {message}", err=True)


class _Commands(click.Group):
    """The commands of this module and of every installed package that adds some."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_plugins()})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Click would load every plug-in, and Spark with it, for one line each.
        rows = []
        for name in self.list_commands(ctx):
            command = super().get_command(ctx, name)
            summary = command.get_short_help_str(80) if command else _summary(_plugins()[name])
            rows.append((name, summary))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None and cmd_name in _plugins():
            command = _load(_plugins()[cmd_name])
        return command


def _plugins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PLUGINS)}


def _summary(plugin: EntryPoint) -> str:
    """The first line of the docstring of the plug-in's function, whose module is not run for it."""
    try:
        spec = find_spec(plugin.module)
        source = Path(spec.origin).read_text("utf-8") if spec and spec.origin else ""
    except (ImportError, OSError):
        return ""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == plugin.attr:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


def _load(plugin: EntryPoint) -> click.Command:
    """The plug-in's command; where a library is missing, one that says so when it is called."""
    try:
        command: click.Command = plugin.load()
    except ImportError as error:
        # The extra of the wheel bears the command's name, unless the entry point names another.
        remedy = f"install superres[{plugin.extras[0] if plugin.extras else plugin.name}]"
        message = f"{plugin.name} needs {error.name or error}, which is not installed; {remedy}"

        def refuse() -> None:
            raise PrerequisiteError(message)

        # Whatever follows the name is accepted, so that this reason is told and no other.
        return click.Command(
            plugin.name,
            callback=refuse,
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
        )
    return command


@click.group(cls=_Commands, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="superres", message="%(prog)s %(version)s")
def cli() -> None:
    """Make photographs two, three or four times as large and sharp, with FSRCNN."""


for _command in (upscale, evaluate, compare, train, estimate):
    cli.add_command(_command)

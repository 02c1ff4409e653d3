"""Runs a click command so that every expected error is one line and an exit code.

Exit codes: 0 success; 1 an error, or images that were skipped or rejected; 2 wrong usage; 130
stopped by Ctrl-C. A command returns a code of its own with ``click.Context.exit``:
``superres ingest`` returns 3 when it rejected some images and stored the rest.
"""

from collections.abc import Callable, Sequence

import click

from superres.errors import SuperresError
from superres.imaging.names import readable

SOME_FAILED = 3  # of ``superres ingest``
INTERRUPTED = 130


def execute(
    command: click.Command,
    arguments: Sequence[str],
    program: str,
    prefix: str = "",
    explain: Callable[[Exception], str | None] = lambda _: None,
) -> int:
    """Runs a command and returns its exit code.

    Args:
        command: the command to run.
        arguments: the words after the program's name.
        program: the program's name in usage messages.
        prefix: printed before each error line.
        explain: returns one line for an exception of a library that the command uses, or None
            if the exception is a bug, which is then raised.
    """
    try:
        code = command.main(args=list(arguments), prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(f"{prefix}stopped", err=True)
        return INTERRUPTED
    except SuperresError as error:
        click.echo(f"{prefix}{_printable(str(error))}", err=True)
        return 1
    except Exception as error:
        # Before OSError: some libraries derive their errors from it.
        line = explain(error) or _file_system_error(error)
        if line is None:
            raise
        click.echo(f"{prefix}{_printable(line)}", err=True)
        return 1
    return code if isinstance(code, int) else 0


def _printable(message: str) -> str:
    return "\n".join(map(readable, message.split("\n")))


def _file_system_error(error: Exception) -> str | None:
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"

"""Runs a click command so that every expected error is one line and an exit code.

Exit codes: 0 success; 1 an error, or nothing could be done; 2 wrong usage; 3 some of it could not
be done, and each of that is named; 128 + n when signal n ended it, as in 130 for Ctrl-C. A command
returns a code of its own with ``click.Context.exit``.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import click

from superres.errors import SuperresError
from superres.imaging.files import remedy_for
from superres.imaging.names import readable
from superres.redaction import without_secrets
from superres.service.signals import ENDING

WRONG_USAGE = 2
SOME_FAILED = 3
INTERRUPTED = 130
_ENDED_BY_SIGNAL = {128 + number for number in ENDING}


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
        sys.stdout.flush()  # what cannot be written must not be found out after this
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _stopped(INTERRUPTED, prefix)
    except SystemExit as ended:
        if ended.code in _ENDED_BY_SIGNAL:
            return _stopped(int(ended.code), prefix)
        raise
    except SuperresError as error:
        click.echo(f"{prefix}{_printable(str(error))}", err=True)
        return 1
    except Exception as error:
        # Before OSError: some libraries derive their errors from it.
        line = explain(error)
        if line is None and isinstance(error, OSError):
            line = file_system_error(error)
        if line is None:
            raise
        click.echo(f"{prefix}{_printable(line)}", err=True)
        return 1
    return code if isinstance(code, int) else 0


def exit_code(done: int, failed: int) -> int:
    """The exit code of a command that did some of its work and could not do the rest."""
    if not failed:
        return 0
    return SOME_FAILED if done else 1


def _stopped(code: int, prefix: str) -> int:
    with suppress(OSError):  # the terminal may be gone
        click.echo(f"{prefix}stopped", err=True)
    return code


def _printable(message: str) -> str:
    return "\n".join(map(readable, without_secrets(message).split("\n")))


def file_system_error(error: OSError) -> str:
    """One line: the file, the reason and, where we know it, what to do."""
    where = f"{error.filename}: " if error.filename else ""
    remedy = remedy_for(error)
    return f"{where}{error.strerror or error}{remedy and f'; {remedy}'}"

"""Running a click command so that every expected error is one line and an exit code.

Exit codes: 0 all done; 1 an error, or images that had to be left out; 2 wrong usage; 130 stopped by
Ctrl-C. A command returns its own code by ``click.Context.exit``.
"""

from collections.abc import Callable, Sequence

import click

from superres.errors import SuperresError

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
        command: what to run.
        arguments: as typed after the program's name.
        program: the name that usage messages show.
        prefix: put before each error line.
        explain: one line for an exception of a library that the command uses; None: it is a bug
            and is raised.
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
        click.echo(f"{prefix}{error}", err=True)
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"{prefix}{where}{error.strerror or error}", err=True)
        return 1
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        click.echo(f"{prefix}{line}", err=True)
        return 1
    return code if isinstance(code, int) else 0

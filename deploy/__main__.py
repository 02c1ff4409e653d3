"""``python -m deploy``: the commands behind `make package`, `make deploy`, `make submit` and so on.

Exit codes: 0 success; 1 an error, printed in one line, or a run that failed; 2 wrong usage; 130
Ctrl-C.
"""

import sys
from collections.abc import Sequence

import click
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from deploy.cli.deploy import deploy
from deploy.cli.destroy import destroy
from deploy.cli.emr_step import emr_step
from deploy.cli.logs import logs
from deploy.cli.package import package
from deploy.cli.smoke import smoke
from deploy.cli.status import status
from deploy.cli.submit import submit
from superres.cli.execution import execute as execute_command


@click.group()
def cli() -> None:
    """Deploy superres to AWS, run it there, see how it is doing, and destroy it."""


for command in (package, deploy, submit, emr_step, smoke, status, logs, destroy):
    cli.add_command(command)


def main() -> None:
    """Entry point of ``python -m deploy``."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; an error becomes one line on standard error."""
    return execute_command(cli, arguments, "deploy", explain=_explain_aws_error)


def _explain_aws_error(error: Exception) -> str | None:
    if isinstance(error, (ClientError, BotoCoreError, ResponseParserError)):
        return f"AWS: {' '.join(str(error).split())}"
    return None


if __name__ == "__main__":
    main()

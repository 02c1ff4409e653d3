"""``make logs``."""

import click

from deploy.cli import shared
from deploy.cli.shared import environment_option, print_line
from deploy.logs import find_execution, show_execution


@click.command()
@environment_option
@click.option("--execution", metavar="NAME", help="Execution.  [default: the latest]")
def logs(name: str, execution: str | None) -> None:
    """Show how the steps of an execution ended, and the last lines of their logs.

    Before that, the commands that follow the logs of steps and services in CloudWatch.
    """
    deployed, clients = shared.open_deployed(name)
    arn = find_execution(clients.stepfunctions, deployed["state_machine_arn"], execution)
    for what, group in deployed.log_groups.items():
        print_line(f"{what}: aws logs tail {group} --follow --region {deployed['region']}")
    show_execution(
        clients.stepfunctions, clients.emr, clients.s3, arn, deployed["log_uri"], print_line
    )

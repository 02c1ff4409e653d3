"""``make submit``."""

import os

import click

from deploy import executions, steps
from deploy.cli import shared
from deploy.cli.shared import environment_option, print_line, print_with_time, redo_option
from deploy.environments import Deployed
from deploy.executions import Outcome
from superres.errors import PrerequisiteError


@click.command()
@environment_option
@click.option(
    "--ingest-date",
    metavar="YYYY-MM-DD",
    help="Day on which the images were ingested.  [default: yesterday and today]",
)
@click.option("--run-id", metavar="ID", help="Name of the run, such as 2026-01-31-x2-again.")
@click.option(
    "--scale",
    type=click.Choice(["2", "3", "4"]),
    help="Upscaling factor.  [default: that of the deployment]",
)
@redo_option
def submit(
    name: str, ingest_date: str | None, run_id: str | None, scale: str | None, redo: bool
) -> None:
    """Start an execution, or find the one already running, and follow it to its end."""
    number = int(scale) if scale else None
    steps.check_run(run_id, number, ingest_date)
    request = executions.Request(ingest_date, run_id, number, redo)
    deployed, clients = shared.open_deployed(name)
    execution = executions.submit(
        clients.stepfunctions, deployed["state_machine_arn"], request, deployed["default_scale"]
    )
    verb = "is already running" if execution.already_running else "started"
    print_with_time(f"execution {execution.name} {verb}{_console_link(deployed, execution.arn)}")
    try:
        outcome = executions.follow(
            clients.stepfunctions,
            clients.emr,
            execution.arn,
            deployed["log_uri"],
            print_with_time,
        )
    except KeyboardInterrupt:
        click.echo(
            "no longer following; the execution goes on, and the same command follows it again",
            err=True,
        )
        raise
    _print_outcome(outcome, execution.name, deployed, name)


def _print_outcome(outcome: Outcome, execution: str, deployed: Deployed, name: str) -> None:
    """Prints how each run ended; raises ``PrerequisiteError`` if the execution failed."""
    if not outcome.succeeded:
        reason = "".join(f": {part}" for part in (outcome.error, outcome.cause) if part)
        raise PrerequisiteError(
            f"execution {execution} {outcome.status.lower().replace('_', ' ')}{reason}; "
            f"logs: make logs ENV={name} EXECUTION={execution}"
        )
    print_with_time(f"execution {execution} succeeded")
    for line in outcome.runs:
        print_line(line)
    if "page_url" in deployed.addresses:
        print_line(f"See the results: {deployed.addresses['page_url']}")


def _console_link(deployed: Deployed, arn: str) -> str:
    if os.environ.get("AWS_ENDPOINT_URL"):
        return ""
    region = deployed.environment.region
    address = f"https://{region}.console.aws.amazon.com/states/home?region={region}"
    return f"; {address}#/v2/executions/details/{arn}"

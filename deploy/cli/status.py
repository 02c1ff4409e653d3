"""``make status``."""

import click
from botocore.exceptions import ClientError

from deploy import drift, executions, steps
from deploy.cli import shared
from deploy.cli.shared import environment_option, print_line
from superres.errors import PrerequisiteError


@click.command()
@environment_option
def status(name: str) -> None:
    """Show what is deployed, clusters, executions, and what differs from this checkout."""
    deployed, clients = shared.open_deployed(name)
    environment = deployed.environment
    if not deployed.outputs:
        raise PrerequisiteError(
            f"{environment.full_name} is not deployed in {environment.region}; run make deploy "
            f"ENV={name}"
        )
    # An output is missing where a deployment stopped midway.
    lifecycle = deployed.get("cluster_lifecycle") or "partly deployed"
    print_line(f"{environment.full_name} in {environment.region}, {lifecycle}")
    for output, address in deployed.addresses.items():
        print_line(f"  {output.removesuffix('_url'):<8} {address}")
    clusters = list(steps.live_clusters(clients.emr, environment.full_name))
    for cluster, cluster_name, state in clusters:
        print_line(f"  cluster  {cluster}  {state.lower():<13} {cluster_name}")
    if not clusters:
        print_line("  cluster  none")
    try:
        latest = executions.latest_executions(clients.stepfunctions, deployed["state_machine_arn"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "StateMachineDoesNotExist":
            raise
        raise PrerequisiteError(
            f"{environment.full_name} is deployed in part, without its state machine: make deploy "
            f"ENV={name} goes on, make destroy ENV={name} removes it"
        ) from None
    for each in latest:
        line = f"  run      {each.started}  {each.status:<10} {each.name}  {each.duration}"
        print_line(line.rstrip())
    if not latest:
        print_line(f"  run      none yet; make submit ENV={name}")
    # Last, since Terraform asks about every resource.
    print_line(f"  plan     {drift.drift_line(deployed)}")

"""``make destroy``."""

from collections.abc import Sequence

import click

from deploy import destroy as destroying
from deploy import environments, steps, terraform
from deploy.cli import shared
from deploy.cli.shared import environment_option, print_line, yes_option
from deploy.clients import Clients
from deploy.environments import Environment
from deploy.purged import forget_purged_cluster
from superres.errors import PrerequisiteError


@click.command()
@environment_option
@yes_option
def destroy(name: str, yes: bool) -> None:
    """List what is deployed, and destroy all of it once confirmed, images included."""
    environment, clients, account = shared.open_environment(name)
    terraform.check_version()
    if not environments.has_bucket(clients.s3, environment.state_bucket(account)):
        print_line(
            f"{environment.full_name} is not deployed in {environment.region}; nothing to do"
        )
        return
    destroying.check_protection(environment)
    root = environments.initialised(environment, account)
    resources = root.read("state", "list").splitlines()
    outputs = root.outputs()
    buckets = destroying.buckets_of(root)
    if resources:
        print_line(f"{environment.full_name} in account {account}, {environment.region}:")
        _print_contents(environment, clients, len(resources), buckets)
        if not yes:
            _confirm(environment)
        state_machine = outputs.get("state_machine_arn")
        _stop_work(environment, state_machine, clients)
        forget_purged_cluster(root, clients.emr, print_line)
        destroying.destroy_with_terraform(root, environment, buckets, clients.s3)
        # The schedule may have started something just before Terraform removed it.
        _stop_work(environment, None, clients)
    if destroying.delete_state(clients.s3, environment, account):
        print_line(f"the state bucket, {environment.state_bucket(account)}, is deleted too")
    print_line(f"{environment.full_name} is destroyed")


def _print_contents(
    environment: Environment, clients: Clients, resources: int, buckets: Sequence[str]
) -> None:
    print_line(f"  {resources} resources")
    for bucket in buckets:
        print_line(f"  bucket {bucket} with everything in it, old versions included")
    for cluster, cluster_name, state in steps.live_clusters(clients.emr, environment.full_name):
        print_line(f"  cluster {cluster} {cluster_name}, {state.lower()}")


def _confirm(environment: Environment) -> None:
    typed = click.prompt(f"Type {environment.full_name} to destroy it", default="")
    if typed != environment.full_name:
        raise PrerequisiteError("nothing was destroyed")


def _stop_work(environment: Environment, state_machine: str | None, clients: Clients) -> None:
    destroying.stop_work(environment, state_machine, clients.stepfunctions, clients.emr, print_line)

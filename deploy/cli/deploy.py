"""``make deploy``."""

import click

from deploy import apply, preflight
from deploy.cli import shared
from deploy.cli.package import build_and_print
from deploy.cli.shared import environment_option, print_line, yes_option
from deploy.clients import Clients
from deploy.cost import Estimate
from deploy.environments import Environment
from deploy.permissions import Scope
from deploy.preflight import Needs
from deploy.prices import read_prices
from deploy.purged import forget_purged_cluster
from deploy.terraform import check_version
from deploy.wheelhouses import RECIPES
from superres.errors import PrerequisiteError


@click.command()
@environment_option
@yes_option
def deploy(name: str, yes: bool) -> None:
    """Build the package, show Terraform's plan, and apply it once confirmed."""
    environment, clients, account = shared.open_environment(name)
    print_line(f"Account {account}, {environment.region}, Terraform {check_version()}")
    needs = preflight.needs_of(environment)
    if _print_findings(environment, needs, account, clients):
        raise PrerequisiteError(f"nothing was deployed; fix this, then run make deploy ENV={name}")
    build_and_print([role for role in RECIPES if role != "gpu" or needs.gpu])

    def confirm() -> bool:
        return yes or click.confirm(f"Apply this to account {account}?", default=False)

    estimate = None
    if environment.name != "local":
        estimate = Estimate(needs, read_prices(environment.region), environment.region)
    deployed = apply.deploy(
        environment,
        account,
        clients.s3,
        confirm,
        print_line,
        estimate=estimate,
        prepare=lambda root: forget_purged_cluster(root, clients.emr, print_line),
    )
    if deployed is None:
        raise PrerequisiteError("nothing was changed")
    for line in apply.next_steps(deployed):
        print_line(line)


def _print_findings(environment: Environment, needs: Needs, account: str, clients: Clients) -> bool:
    """Prints what preflight found; returns whether any of it must be fixed first."""
    if environment.name == "local":
        found = preflight.local_findings(needs, clients)
    else:
        partition = clients.sts.meta.partition
        scope = Scope(partition, account, environment.region, environment.project)
        found = preflight.findings(needs, scope, environment.full_name, clients)
    blocked = False
    for finding in [*preflight.value_findings(environment), *found]:
        click.echo(f"{'' if finding.stops else 'warning: '}{finding.line}", err=True)
        blocked = blocked or finding.stops
    return blocked

"""Options, output and the opened environment that several commands share."""

import time

import click

from deploy import preflight
from deploy.clients import Clients, make_clients
from deploy.environments import Deployed, Environment, read_deployed, read_environment
from deploy.terraform import check_version

environment_option = click.option(
    "--env",
    "name",
    default="dev",
    show_default=True,
    metavar="NAME",
    help="Environment, a file infra/environments/NAME.tfvars.",
)
yes_option = click.option("--yes", is_flag=True, help="Skip confirmation.")
redo_option = click.option(
    "--redo", is_flag=True, help="Process finished and rejected images again."
)


def print_line(line: str) -> None:
    """Prints a line to standard output."""
    click.echo(line)


def print_with_time(line: str) -> None:
    """Prints a line that begins with the time of day."""
    click.echo(f"{time.strftime('%H:%M:%S')}  {line}")


def open_environment(name: str) -> tuple[Environment, Clients, str]:
    """Returns an environment, clients for its region, and the account.

    Raises ``ConfigError`` or ``PrerequisiteError`` when there is no such environment, when the
    shell is set up for another region or endpoint, or when the credentials do not work.
    """
    environment = read_environment(name)
    preflight.check_region(environment)
    clients = make_clients(environment.region)
    preflight.check_endpoint(environment, clients.sts.meta.endpoint_url)
    return environment, clients, preflight.check_credentials(clients.sts, environment)


def open_deployed(name: str) -> tuple[Deployed, Clients]:
    """Returns what is deployed for an environment, and clients for its region."""
    environment, clients, _ = open_environment(name)
    check_version()
    return read_deployed(environment, clients.s3, clients.sts), clients

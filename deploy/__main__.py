"""``python -m deploy``: the commands that `make package`, `deploy`, `submit` and so on call.

Exit codes: 0 well; 1 an error, told in one line, or a run that failed; 2 wrong usage; 130 Ctrl-C.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from deploy import apply as deploying
from deploy import destroy as destroying
from deploy import executions, logs, preflight, steps
from deploy.clients import Clients, make_clients
from deploy.environments import (
    Deployed,
    Environment,
    has_bucket,
    initialised,
    read_deployed,
    read_environment,
)
from deploy.package import JOBS, PACKAGE, ROOT, build_package
from deploy.terraform import check_version
from deploy.wheelhouses import RECIPES, Role
from superres.errors import ConfigError, PrerequisiteError, SuperresError

INTERRUPTED = 130


def main() -> None:
    """Entry point of ``python -m deploy``."""
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit code; an error becomes one line on standard error."""
    try:
        code = cli.main(args=list(arguments), prog_name="deploy", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return INTERRUPTED
    except SuperresError as error:
        click.echo(str(error), err=True)
        return 1
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        click.echo(f"AWS: {executions.one_line(str(error))}", err=True)
        return 1
    except OSError as error:
        click.echo(f"{error.filename or 'file system'}: {error.strerror or error}", err=True)
        return 1
    return code if isinstance(code, int) else 0


@click.group()
def cli() -> None:
    """Put superres on AWS, run it there, look at it, take it away."""


def _environment_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--env",
        "name",
        default="dev",
        show_default=True,
        metavar="NAME",
        help="One of infra/environments/NAME.tfvars.",
    )(command)


yes_option = click.option("--yes", is_flag=True, help="Ask nothing.")


def _say(line: str) -> None:
    click.echo(line)


def _say_with_time(line: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')}  {line}")


def _opened(name: str) -> tuple[Environment, Clients, str]:
    """An environment, clients for its region, and the account; raises what is in the way."""
    environment = read_environment(name)
    preflight.check_region(environment)
    clients = make_clients(environment.region)
    preflight.check_place(environment, clients.sts.meta.endpoint_url)
    return environment, clients, preflight.check_credentials(clients.sts, environment)


def _deployed(name: str) -> tuple[Deployed, Clients]:
    environment, clients, _ = _opened(name)
    check_version()
    return read_deployed(environment, clients.s3, clients.sts), clients


# ---- package and deploy


@cli.command()
@click.option("--without-gpu", is_flag=True, help="Leave out torch (4 GB): inference on CPUs.")
def package(without_gpu: bool) -> None:
    """Build everything that AWS runs into build/package."""
    _package([role for role in RECIPES if role != "gpu" or not without_gpu])


def _package(roles: Sequence[Role]) -> None:
    manifest = build_package(roles, tell=_say)
    megabytes = sum(file["bytes"] for file in manifest["files"]) / 1e6
    _say(f"{PACKAGE.relative_to(ROOT)}: release {manifest['release']}, {megabytes:.0f} MB")


@cli.command()
@_environment_option
@yes_option
def deploy(name: str, yes: bool) -> None:
    """Package, show the plan, ask, apply."""
    environment, clients, account = _opened(name)
    _say(f"Account {account}, {environment.region}, Terraform {check_version()}")
    fleets = deploying.fleets_of(environment)
    stops = False
    for finding in preflight.findings(fleets, clients.emr, clients.ec2, clients.quotas):
        click.echo(f"{'' if finding.stops else 'warning: '}{finding.line}", err=True)
        stops = stops or finding.stops
    if stops:
        raise PrerequisiteError(f"nothing was done; then again: make deploy ENV={name}")
    _package([role for role in RECIPES if role != "gpu" or fleets.gpu_types])

    def confirm() -> bool:
        return yes or click.confirm(f"Apply this to account {account}?", default=False)

    deployed = deploying.deploy(environment, account, clients.s3, confirm, _say)
    if deployed is None:
        raise PrerequisiteError("nothing was changed")
    for line in deploying.in_words(deployed):
        _say(line)


# ---- run


@cli.command()
@_environment_option
@click.option("--ingest-date", metavar="YYYY-MM-DD", help="[default: yesterday and today]")
@click.option("--run-id", metavar="ID", help="As in 2026-01-31-x2-again.")
@click.option("--scale", type=click.Choice(["2", "3", "4"]))
@click.option("--redo", is_flag=True, help="Finished images too.")
def submit(
    name: str, ingest_date: str | None, run_id: str | None, scale: str | None, redo: bool
) -> None:
    """Start an execution, or find the one that runs already, and follow it to its end."""
    steps.check_run(run_id, int(scale) if scale else None, ingest_date)
    request = executions.Request(ingest_date, run_id, int(scale) if scale else None, redo)
    deployed, clients = _deployed(name)
    execution = executions.submit(
        clients.states, deployed["state_machine_arn"], request, deployed["default_scale"]
    )
    verb = "is running already" if execution.found else "started"
    _say_with_time(f"execution {execution.name} {verb}{_console(deployed, execution.arn)}")
    try:
        outcome = executions.follow(
            clients.states, clients.emr, execution.arn, deployed["log_uri"], _say_with_time
        )
    except KeyboardInterrupt:
        click.echo("no longer followed; it goes on, and the same command finds it again", err=True)
        raise
    if outcome.succeeded:
        _say_with_time(f"execution {execution.name} succeeded")
        for line in outcome.runs:
            _say(line)
        if "page_url" in deployed.pages:
            _say(f"Look at the results: {deployed.pages['page_url']}")
        return
    told = ": ".join(part for part in (outcome.error, outcome.cause) if part)
    raise PrerequisiteError(
        f"execution {execution.name} {outcome.status.lower().replace('_', ' ')}"
        f"{': ' if told else ''}{told}; logs: make logs ENV={name} EXECUTION={execution.name}"
    )


def _console(deployed: Deployed, arn: str) -> str:
    if os.environ.get("AWS_ENDPOINT_URL"):
        return ""
    region = deployed.environment.region
    address = f"https://{region}.console.aws.amazon.com/states/home?region={region}"
    return f"; {address}#/v2/executions/details/{arn}"


@cli.command("emr-step")
@_environment_option
@click.option("--job", default="", metavar="NAME", help="As in mass_split; must be given.")
@click.option("--run-id", default="", metavar="ID", help="As in 2026-01-31-x2; must be given.")
@click.option("--scale", type=click.Choice(["2", "3", "4"]), help="If the run id names none.")
@click.option("--ingest-date", metavar="YYYY-MM-DD", help="If the run id names none.")
@click.option("--redo", is_flag=True, help="Finished images too.")
@click.option("--cluster", metavar="ID", help="[default: the persistent one]")
def emr_step(
    name: str,
    job: str,
    run_id: str,
    scale: str | None,
    ingest_date: str | None,
    redo: bool,
    cluster: str | None,
) -> None:
    """Submit one job as a step, as the state machine would, and follow it to its end."""
    # Not left to click: make hands an empty JOB= on, and its users know no --job.
    for value, told in (
        (job, "JOB=mass_split (--job)"),
        (run_id, "RUN_ID=2026-01-31-x2 (--run-id)"),
    ):
        if not value:
            raise click.UsageError(f"{told.partition('=')[0]} is missing; give {told}")
    if job not in JOBS:
        raise ConfigError(f"JOB (--job) {job!r}: no such job; there are {', '.join(JOBS)}")
    number = int(scale) if scale else None
    steps.check_run(run_id, number, ingest_date)
    deployed, clients = _deployed(name)
    arguments = steps.job_arguments(run_id, number, ingest_date, redo=redo)
    step = steps.submit_step(clients.emr, deployed, job, arguments, cluster)
    _say_with_time(f"{job}: step {step.id} on {step.cluster}")
    status = steps.follow_step(clients.emr, step, job, deployed["log_uri"], _say_with_time)
    if status.state != "COMPLETED":
        raise PrerequisiteError(f"{job}: {status.told}; log {step.log(deployed['log_uri'])}")


# ---- look


@cli.command()
@_environment_option
def status(name: str) -> None:
    """Tell what is deployed, which clusters live and how the latest executions stand."""
    deployed, clients = _deployed(name)
    environment = deployed.environment
    if not deployed.outputs:
        raise PrerequisiteError(
            f"{environment.full_name} is not deployed in {environment.region}; run make deploy "
            f"ENV={name}"
        )
    # An output is missing where a deployment stopped midway.
    lifecycle = deployed.get("cluster_lifecycle") or "deployed in part"
    _say(f"{environment.full_name} in {environment.region}, {lifecycle}")
    for output, address in deployed.pages.items():
        _say(f"  {output.removesuffix('_url'):<8} {address}")
    clusters = list(steps.live_clusters(clients.emr, environment.full_name))
    for cluster, called, state in clusters:
        _say(f"  cluster  {cluster}  {state.lower():<13} {called}")
    if not clusters:
        _say("  cluster  none")
    past = executions.recent(clients.states, deployed["state_machine_arn"])
    for each in past:
        _say(f"  run      {each.started}  {each.status:<10} {each.name}  {each.took}".rstrip())
    if not past:
        _say(f"  run      none yet; make submit ENV={name}")


@cli.command("logs")
@_environment_option
@click.option("--execution", metavar="NAME", help="[default: the latest]")
def logs_command(name: str, execution: str | None) -> None:
    """Show how an execution's steps ended, and the end of their logs."""
    deployed, clients = _deployed(name)
    arn = logs.find_execution(clients.states, deployed["state_machine_arn"], execution)
    logs.show_execution(clients.states, clients.emr, clients.s3, arn, deployed["log_uri"], _say)


# ---- take away


@cli.command()
@_environment_option
@yes_option
def destroy(name: str, yes: bool) -> None:
    """Show what there is, ask, and take all of it away, images included."""
    environment, clients, account = _opened(name)
    check_version()
    if not has_bucket(clients.s3, environment.state_bucket(account)):
        _say(f"{environment.full_name} is not deployed in {environment.region}; nothing to do")
        return
    destroying.check_protection(environment)
    terraform = initialised(environment, account)
    made = terraform.read("state", "list").splitlines()
    outputs = terraform.outputs()
    buckets = destroying.buckets_of(terraform)
    if made:
        _say(f"{environment.full_name} in account {account}, {environment.region}:")
        _say(f"  {len(made)} resources")
        for bucket in buckets:
            _say(f"  bucket {bucket} with all that it holds, old versions too")
        for cluster, called, state in steps.live_clusters(clients.emr, environment.full_name):
            _say(f"  cluster {cluster} {called}, {state.lower()}")
        if not yes:
            typed = click.prompt(f"Type {environment.full_name} to destroy it", default="")
            if typed != environment.full_name:
                raise PrerequisiteError("nothing was destroyed")
        destroying.stop_work(
            environment, outputs.get("state_machine_arn"), clients.states, clients.emr, _say
        )
        destroying.destroy_with_terraform(terraform, environment, buckets, clients.s3)
        # The schedule may have started something just before it went.
        destroying.stop_work(environment, None, clients.states, clients.emr, _say)
    if destroying.forget_state(clients.s3, environment, account):
        _say(f"the bucket of the states, {environment.state_bucket(account)}, is gone too")
    _say(f"{environment.full_name} is gone")


if __name__ == "__main__":
    main()

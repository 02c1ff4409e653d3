"""``make deploy``: shows Terraform's plan and applies it once confirmed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deploy.callbacks import Report
from deploy.cost import Estimate
from deploy.environments import (
    SERVICE_PORTS,
    Deployed,
    Environment,
    has_bucket,
    initialised,
)
from deploy.resources import existing_resources, planned_resources
from deploy.terraform import DATA, INFRA, Run, Terraform, run_command, terraform_on
from superres.errors import PrerequisiteError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_CHANGES = 2  # exit code of `terraform plan -detailed-exitcode` when there are changes


def ensure_state_bucket(
    environment: Environment, account: str, s3: "S3Client", report: Report, run: Run = run_command
) -> None:
    """Creates the bucket for Terraform's states, once per account and region."""
    bucket = environment.state_bucket(account)
    if has_bucket(s3, bucket):
        return
    report(f"creating the state bucket, {bucket}")
    terraform = terraform_on(INFRA / "state", DATA / bucket / "data", run)
    state = DATA / bucket / "terraform.tfstate"
    # The state of the bucket itself stays here; once the bucket exists it is not needed.
    state.unlink(missing_ok=True)
    terraform.call("init")
    terraform.call(
        "apply",
        "-auto-approve",
        f"-state={state}",
        f"-var=project={environment.project}",
        f"-var=region={environment.region}",
    )


def deploy(
    environment: Environment,
    account: str,
    s3: "S3Client",
    confirm: Callable[[], bool],
    report: Report,
    run: Run = run_command,
    estimate: Estimate | None = None,
    prepare: Callable[[Terraform], None] = lambda _: None,
) -> Deployed | None:
    """Plans, reports what that costs, confirms and applies; returns None when not confirmed.

    The package must have been built. Without an estimate nothing is billed, as in the local cloud.
    ``prepare`` may change the state before the plan.
    """
    ensure_state_bucket(environment, account, s3, report, run)
    terraform = initialised(environment, account, run)
    if remedy := _state_to_push(terraform):
        raise PrerequisiteError(f"an earlier deployment broke off: {remedy}")
    prepare(terraform)
    plan: Path = terraform.data / "deploy.tfplan"
    changed = terraform.call(
        "plan",
        "-detailed-exitcode",
        f"-var-file={environment.values}",
        f"-out={plan}",
        allowed=(0, _CHANGES),
    )
    if changed == _CHANGES:
        if estimate is not None:
            shown = json.loads(terraform.read("show", "-json", str(plan)))
            for line in estimate.lines(planned_resources(shown)):
                report(line)
        if not confirm():
            return None
        _apply(terraform, plan, environment, report, estimate)
    return Deployed(environment, terraform.outputs())


def _apply(
    terraform: Terraform,
    plan: Path,
    environment: Environment,
    report: Report,
    estimate: Estimate | None,
) -> None:
    """Applies a plan; if that fails or is interrupted, says what is billed already."""
    try:
        terraform.call("apply", str(plan))
    except PrerequisiteError as error:
        raise PrerequisiteError(
            f"{error}; {_left_behind(terraform, environment, estimate)}"
        ) from None
    except KeyboardInterrupt:
        report(f"Interrupted; {_left_behind(terraform, environment, estimate)}")
        raise


def _left_behind(terraform: Terraform, environment: Environment, estimate: Estimate | None) -> str:
    """Returns what exists after an apply that did not end, and how to go on or remove it."""
    billed = "part of it exists"
    if estimate is not None:
        try:
            shown = json.loads(terraform.read("show", "-json"))
            billed = estimate.in_short(existing_resources(shown))
        except PrerequisiteError:  # the state cannot be read, for the same reason perhaps
            billed = "part of it may exist and be billed"
    if remedy := _state_to_push(terraform):
        return f"{billed}; {remedy}"
    name = environment.name
    return f"{billed}: make deploy ENV={name} goes on, make destroy ENV={name} removes it"


def _state_to_push(terraform: Terraform) -> str:
    """Returns what to do with a state that Terraform could not store in S3; empty without one."""
    state, data = INFRA / "errored.tfstate", terraform.data.resolve()
    if not state.exists():
        return ""
    return (
        f"what exists is known only to {state}. Store it before you deploy again: "
        f"TF_DATA_DIR={data} terraform -chdir={INFRA} state push {state.name} "
        "(if a lock is held, terraform force-unlock with its ID), then delete the file; or delete "
        "it at once if all that was created is gone"
    )


def _forwarding(deployed: Deployed) -> list[str]:
    """Returns how to reach services inside the network; nothing for a public load balancer."""
    page = deployed.addresses.get("page_url", "")
    if urlsplit(page).hostname == "localhost":  # without a load balancer
        return [
            "Both addresses are ports of this machine, once AWS's Session Manager plugin forwards "
            "them (leave these running):",
            *(
                f"  {_session(deployed, service)} --document-name AWS-StartPortForwardingSession "
                f"--parameters portNumber={port},localPortNumber={port}"
                for service, port in SERVICE_PORTS.items()
            ),
        ]
    host = str(deployed.get("load_balancer_dns_name") or "")
    if not host.startswith("internal-"):  # AWS names internal ones so, and only those
        return []
    scheme = page.partition(":")[0]
    port, local = {"http": (80, 8080), "https": (443, 8443)}[scheme]
    return [
        "These addresses can be reached inside the network only. From elsewhere, with AWS's "
        f"Session Manager plugin, run this, then open {scheme}://localhost:{local}:",
        f"  {_session(deployed, 'notifier')} "
        "--document-name AWS-StartPortForwardingSessionToRemoteHost "
        f"--parameters host={host},portNumber={port},localPortNumber={local}",
    ]


def _session(deployed: Deployed, service: str) -> str:
    """Returns the command that starts a session to an instance of a service."""
    region = deployed.environment.region
    instance = (
        "aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "
        f"{deployed['service_groups'][service]} --region {region} "
        "--query 'AutoScalingGroups[0].Instances[0].InstanceId' --output text"
    )
    return f'aws ssm start-session --region {region} --target "$({instance})"'


def next_steps(deployed: Deployed) -> list[str]:
    """Returns the lines to print after a deployment: addresses, tokens and next commands."""
    environment = deployed.environment.name
    lines = [f"{deployed.environment.full_name} is deployed in {deployed.environment.region}."]
    labels = {"page_url": "Gallery:", "uploads_url": "Upload photographs:"}
    lines += [f"{labels[name]:<22}{address}" for name, address in deployed.addresses.items()]
    lines += _forwarding(deployed)
    # In the local cloud there are no instances, which create the tokens.
    tokens = {} if environment == "local" else deployed.get("tokens") or {}
    for service, secret in sorted(tokens.items()):
        lines.append(
            f"Token of {service + ':':<13}aws secretsmanager get-secret-value --secret-id {secret} "
            f"--region {deployed.environment.region} --query SecretString --output text"
        )
    return [
        *lines,
        f"Configuration:        {deployed['config_uri']}",
        f"Process the images:   make submit ENV={environment}",
        f"Show its status:      make status ENV={environment}",
        f"Show a run's logs:    make logs ENV={environment}",
        f"Destroy all of it:    make destroy ENV={environment}",
    ]

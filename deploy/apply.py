"""``make deploy``: from a checkout to a running pipeline, the plan shown and confirmed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.environments import Deployed, Environment, has_bucket, initialised
from deploy.package import Tell
from deploy.preflight import Fleets, Group
from deploy.terraform import DATA, INFRA, Run, evaluate, run_command, terraform_on

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

_CHANGES = 2  # what `terraform plan -detailed-exitcode` returns for them

# The variables of the root that preflight needs; Terraform evaluates them, defaults included.
_FLEETS = """{
  release_label = var.processing.release_label,
  device        = var.processing.device,
  primary       = var.processing.primary.instance_types,
  core          = var.processing.core.instance_types,
  gpu           = var.processing.gpu.instance_types,
  gpu_instances = var.processing.gpu.max_instances,
  on_demand = [
    [var.processing.primary.instance_types, 1],
    [var.processing.core.instance_types, var.processing.core.instances],
    [[var.ingestion.instance_type], var.ingestion.instances],
    [[var.notifier.instance_type], var.notifier.instances],
  ],
}"""


def fleets_of(environment: Environment) -> Fleets:
    """The instances that the environment's values ask for."""
    values: dict[str, Any] = evaluate(" ".join(_FLEETS.split()), environment.values)
    gpu = values["gpu"] if values["device"] == "cuda" else []
    kinds = dict.fromkeys([*values["primary"], *values["core"], *gpu])
    groups = tuple(Group(tuple(types), count) for types, count in values["on_demand"])
    return Fleets(
        values["release_label"], tuple(kinds), tuple(gpu), values["gpu_instances"], groups
    )


def ensure_state_bucket(
    environment: Environment, account: str, s3: "S3Client", tell: Tell, run: Run = run_command
) -> None:
    """Makes the bucket of the states, once for an account and region."""
    bucket = environment.state_bucket(account)
    if has_bucket(s3, bucket):
        return
    tell(f"making the bucket of the states, {bucket}")
    terraform = terraform_on(INFRA / "state", DATA / bucket / "data", run)
    state = DATA / bucket / "terraform.tfstate"
    # Its own state stays here; once the bucket is there, no one needs it.
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
    tell: Tell,
    run: Run = run_command,
) -> Deployed | None:
    """Plans, asks, applies; None when the answer was no. The package must be there."""
    ensure_state_bucket(environment, account, s3, tell, run)
    terraform = initialised(environment, account, run)
    plan: Path = terraform.data / "deploy.tfplan"
    changed = terraform.call(
        "plan",
        "-detailed-exitcode",
        f"-var-file={environment.values}",
        f"-out={plan}",
        allowed=(0, _CHANGES),
    )
    if changed == _CHANGES:
        if not confirm():
            return None
        terraform.call("apply", str(plan))
    return Deployed(environment, terraform.outputs())


def _forwarding(deployed: Deployed) -> list[str]:
    """How a laptop reaches an internal load balancer, whose address opens in the network only."""
    host = str(deployed.get("load_balancer_dns_name") or "")
    if not host.startswith("internal-"):  # as AWS names those, and no other
        return []
    scheme = str(deployed["page_url"]).partition(":")[0]
    port, local = {"http": (80, 8080), "https": (443, 8443)}[scheme]
    region = deployed.environment.region
    instance = (
        "aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "
        f"{deployed['service_groups']['notifier']} --region {region} "
        "--query 'AutoScalingGroups[0].Instances[0].InstanceId' --output text"
    )
    return [
        "These addresses open inside the network only. From elsewhere, with AWS's Session Manager "
        f"plugin, run this, then open {scheme}://localhost:{local}:",
        f'  aws ssm start-session --region {region} --target "$({instance})" '
        "--document-name AWS-StartPortForwardingSessionToRemoteHost "
        f"--parameters host={host},portNumber={port},localPortNumber={local}",
    ]


def in_words(deployed: Deployed) -> list[str]:
    """What to do next, for whoever deployed."""
    environment = deployed.environment.name
    lines = [f"{deployed.environment.full_name} is deployed in {deployed.environment.region}."]
    words = {"page_url": "Look at the results:", "uploads_url": "Upload photographs:"}
    lines += [f"{words[name]:<22}{address}" for name, address in deployed.pages.items()]
    lines += _forwarding(deployed)
    for page, secret in sorted((deployed.get("tokens") or {}).items()):
        lines.append(
            f"Token of {page + ':':<13}aws secretsmanager get-secret-value --secret-id {secret} "
            f"--region {deployed.environment.region} --query SecretString --output text"
        )
    return [
        *lines,
        f"Configuration:        {deployed['config_uri']}",
        f"Process what came:    make submit ENV={environment}",
        f"See how it stands:    make status ENV={environment}",
        f"Read a run's logs:    make logs ENV={environment}",
        f"Take it all away:     make destroy ENV={environment}",
    ]

"""``make deploy``: from a checkout to a running pipeline, the plan shown and confirmed."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from delivery.environments import Deployed, Environment, has_bucket, initialised
from delivery.package import Tell
from delivery.preflight import Fleets
from delivery.terraform import DATA, INFRA, Run, evaluate, run_command, terraform_on

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
}"""


def fleets_of(environment: Environment) -> Fleets:
    """The instances that the environment's values ask for."""
    values: dict[str, Any] = evaluate(" ".join(_FLEETS.split()), environment.values)
    gpu = values["gpu"] if values["device"] == "cuda" else []
    kinds = dict.fromkeys([*values["primary"], *values["core"], *gpu])
    return Fleets(values["release_label"], tuple(kinds), tuple(gpu), values["gpu_instances"])


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


def in_words(deployed: Deployed) -> list[str]:
    """What to do next, for whoever deployed."""
    environment = deployed.environment.name
    lines = [f"{deployed.environment.full_name} is deployed in {deployed.environment.region}."]
    if deployed.get("page_url"):
        lines.append(f"Look at the results:  {deployed['page_url']}")
    if deployed.get("uploads_url"):
        lines.append(f"Upload photographs:   {deployed['uploads_url']}")
    for page, secret in sorted((deployed.get("tokens") or {}).items()):
        lines.append(
            f"Token of {page + ':':<13}aws secretsmanager get-secret-value --secret-id {secret} "
            f"--region {deployed.environment.region} --query SecretString --output text"
        )
    return [
        *lines,
        f"Process what came:    make submit ENV={environment}",
        f"See how it stands:    make status ENV={environment}",
        f"Read a run's logs:    make logs ENV={environment}",
        f"Take it all away:     make destroy ENV={environment}",
    ]

"""An environment: its values, its Terraform state, and what is deployed for it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deploy.terraform import DATA, INFRA, Run, Terraform, run_command, terraform_on
from superres.errors import ConfigError, PrerequisiteError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sts import STSClient


# At which each service listens on its instances (infra/load_balancer.tf).
SERVICE_PORTS = {"notifier": 8080, "ingestion": 8081}


@dataclass(frozen=True)
class Environment:
    """One of infra/environments/*.tfvars."""

    name: str
    project: str
    region: str
    values: Path

    @property
    def full_name(self) -> str:
        """The prefix of the names of everything that belongs to it."""
        return f"{self.project}-{self.name}"

    def state_bucket(self, account: str) -> str:
        """The bucket for Terraform's states, named as infra/state names it."""
        return f"{self.project}-state-{account}-{self.region}"

    @property
    def state_key(self) -> str:
        """The key of its state in that bucket."""
        return f"{self.name}.tfstate"


def read_environment(name: str, infra: Path = INFRA) -> Environment:
    """Reads the values needed before Terraform runs; raises ``ConfigError`` if one is missing."""
    values = infra / "environments" / f"{name}.tfvars"
    if not values.is_file():
        known = ", ".join(sorted(file.stem for file in values.parent.glob("*.tfvars")))
        raise ConfigError(f"ENV={name}: no {values}; there are {known or 'none'}")
    given = dict(re.findall(r'^(\w+) *= *"([^"]*)"', values.read_text("utf-8"), re.MULTILINE))
    defaults = dict(
        re.findall(
            r'^variable "(\w+)" \{[^}]*?^  default += +"([^"]*)"',
            (infra / "variables.tf").read_text("utf-8"),
            re.MULTILINE,
        )
    )
    found = {**defaults, **given}
    for key in ("environment", "project", "region"):
        if key not in found:
            raise ConfigError(f'{values}: {key} is missing; add {key} = "…"')
    return Environment(found["environment"], found["project"], found["region"], values)


def account_of(sts: "STSClient") -> str:
    """The account that the credentials belong to."""
    return sts.get_caller_identity()["Account"]


def has_bucket(s3: "S3Client", bucket: str) -> bool:
    """Whether the bucket exists; raises if it belongs to someone else."""
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("404", "NoSuchBucket", "NotFound"):
            return False
        raise
    return True


def initialised(environment: Environment, account: str, run: Run = run_command) -> Terraform:
    """Initialises the root module with the state of this environment."""
    terraform = terraform_on(INFRA, DATA / environment.full_name, run)
    terraform.call(
        "init",
        "-reconfigure",
        f"-backend-config=bucket={environment.state_bucket(account)}",
        f"-backend-config=key={environment.state_key}",
        f"-backend-config=region={environment.region}",
    )
    return terraform


@dataclass(frozen=True)
class Deployed:
    """The outputs of the root module."""

    environment: Environment
    outputs: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        """Returns an output; raises ``PrerequisiteError`` where it is missing or null."""
        if self.outputs.get(name) is None:
            raise PrerequisiteError(
                f"{self.environment.full_name} has no {name}: it is not deployed, or only partly; "
                f"run make deploy ENV={self.environment.name}"
            )
        return self.outputs[name]

    def get(self, name: str) -> Any:
        """Returns an output that may be missing or null."""
        return self.outputs.get(name)

    @property
    def addresses(self) -> dict[str, str]:
        """Web addresses by output; none in the local cloud, which has no instances."""
        names = () if self.environment.name == "local" else ("page_url", "uploads_url")
        return {name: self.outputs[name] for name in names if self.outputs.get(name)}

    @property
    def log_groups(self) -> dict[str, str]:
        """Log groups by what is logged there; none in the local cloud, which has no agent."""
        return {} if self.environment.name == "local" else self.outputs.get("log_groups") or {}


def read_deployed(
    environment: Environment, s3: "S3Client", sts: "STSClient", run: Run = run_command
) -> Deployed:
    """Reads what is deployed, which may be nothing."""
    account = account_of(sts)
    if not has_bucket(s3, environment.state_bucket(account)):
        return Deployed(environment, {})  # reading an output raises, with the remedy
    terraform = terraform_on(INFRA, DATA / environment.full_name, run)
    if not (terraform.data / "terraform.tfstate").is_file():
        terraform = initialised(environment, account, run)
    return Deployed(environment, terraform.outputs())

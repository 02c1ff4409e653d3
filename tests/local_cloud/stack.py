"""The production root on LocalStack: brought up, deployed by our own commands, taken down.

with running_stack() as stack:
    stack.deploy_command("submit", "--env", "local", "--ingest-date", "2026-01-31")
    stack.client("s3").list_objects_v2(Bucket=stack.outputs["buckets"]["results"])
    other = stack.deployed(cluster_lifecycle="transient")

pytest-localstack is for nothing here: it starts LocalStack as a container, or attaches clients to
one, which a variable of the environment does as well.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import boto3
from botocore.config import Config

from deploy.environments import read_environment
from deploy.terraform import INFRA, Terraform, terraform_on
from superres.service.supervisor import free_port
from tests.support.cleanup import FOLDER_VARIABLE, folder_with_cleanup
from tests.support.kafka_broker import Broker, unstarted_broker
from tests.support.localstack import LocalCloud, require_localstack, unstarted_cloud
from tests.support.paths import ROOT
from tests.support.required_tools import require

ENVIRONMENT = "local"  # infra/environments/local.tfvars
NAME = f"superres-{ENVIRONMENT}"  # prefix of all names
REGION = "us-east-1"
_DEPLOY_SECONDS = 1200.0
_TERRAFORMS = ("TF_CLI_CONFIG_FILE", "TF_DATA_DIR", "TF_IN_AUTOMATION", "TF_INPUT", "CHECKPOINT_")
_STATIC_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# Variables of a developer's own environment.
_FOREIGN = ("AWS_", "TF_VAR_", "SUPERRES_", "LOCAL_", "LOCALSTACK_", "KAFKA_")


@dataclass(frozen=True)
class Stack:
    """A LocalStack of its own, and what is deployed on it.

    Attributes:
        folder: all that belongs to it lies there: logs, data, what its nodes install.
        cloud: its LocalStack.
        broker: the Kafka that MSK names; `start_kafka` starts it.
        outputs: of the Terraform root; empty until it is deployed.
        seconds: how long each phase took.
    """

    folder: Path
    cloud: LocalCloud
    broker: Broker
    outputs: Mapping[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The complete environment of a process that uses this stack and no other."""
        kept = {key: text for key, text in os.environ.items() if not key.startswith(_FOREIGN)}
        return kept | {
            FOLDER_VARIABLE: str(self.folder),
            **self.cloud.environment,
            "SUPERRES_TERRAFORM_DIR": str(self.folder / "terraform"),
            "TMPDIR": str(self.folder / "tmp"),
        }

    def credentials_uri(
        self, service: str, name: str, session: str, source_arn: str | None = None
    ) -> str:
        """Returns the address of a role's credentials, as a service of AWS assumes it.

        For ec2 the name is that of an instance profile. The role's trust policy must allow it.
        """
        account = self.client("sts").get_caller_identity()["Account"]
        address = f"{self.cloud.endpoint}/_iam/credentials/{account}/{service}/{name}/{session}"
        return f"{address}?source_arn={quote(source_arn)}" if source_arn else address

    def environment_of(self, service: str, name: str, session: str) -> dict[str, str]:
        """The environment of a process that has the credentials of a role and no others."""
        # Keys in the environment would be used first.
        kept = {key: text for key, text in self.environment.items() if key not in _STATIC_KEYS}
        return kept | {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": self.credentials_uri(service, name, session)
        }

    @property
    def permissions(self) -> Path:
        """The file in which LocalStack reports each permission that it evaluated."""
        return self.folder / "localstack" / "permissions.jsonl"

    @property
    def log(self) -> str:
        """The file with LocalStack's log."""
        return (self.folder / "localstack" / "localstack.log").read_text(errors="replace")

    def client(self, service: str) -> Any:
        """Returns a boto3 client of a service."""
        make: Any = boto3.client  # its types accept literal service names only
        return make(
            service,
            endpoint_url=self.cloud.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"}),
        )

    def client_of(self, service: str, principal: str, role: str, source_arn: str) -> Any:
        """Returns a client with the credentials of a role that a service of AWS assumed."""
        address = self.credentials_uri(principal, role, "test", source_arn)
        with urlopen(address, timeout=30) as answer:
            given = json.load(answer)
        session = boto3.session.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["Token"], REGION
        )
        make: Any = session.client
        return make(service, endpoint_url=self.cloud.endpoint)

    def up(self) -> None:
        """Starts LocalStack, as `make local-up` does."""
        brokers = {"LOCAL_MSK_BROKERS_SASL_IAM": self.broker.iam_bootstrap}
        done = self.cloud.script("up", self.environment | brokers)
        assert done.returncode == 0, done.stdout + done.stderr

    def start_kafka(self) -> None:
        """Starts the broker, with IAM authentication as in MSK."""
        done = self.broker.script("start", KAFKA_IAM_REGION=REGION)
        assert done.returncode == 0, done.stdout + done.stderr

    def terraform(self, data: Path | None = None) -> Terraform:
        """Returns Terraform for the root, as our commands run it; terraform.log has its output."""

        def run(
            command: Sequence[str], environment: Mapping[str, str], capture: bool
        ) -> "subprocess.CompletedProcess[str]":
            settings = {
                key: text for key, text in environment.items() if key.startswith(_TERRAFORMS)
            }
            done = subprocess.run(
                list(command),
                env=self.environment | settings,
                capture_output=True,
                text=True,
                timeout=_DEPLOY_SECONDS,
                check=False,
            )
            (self.folder / "terraform.log").write_text(done.stdout + done.stderr)
            return done

        return terraform_on(INFRA, data or self.folder / "terraform" / NAME, run)

    def deploy_command(
        self, *arguments: str, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Runs `python -m deploy …`, which is what `make deploy`, `make submit` and so on call.

        `variables` are for its environment, such as TF_VAR_cluster_lifecycle="transient".
        """
        return subprocess.run(
            [sys.executable, "-m", "deploy", *arguments],
            cwd=ROOT,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DEPLOY_SECONDS,
            check=False,
        )

    def deployed(self, **variables: Any) -> "Stack":
        """After `make deploy ENV=local YES=1`, with variables of the root that the file leaves out.

        Packages too: what is deployed is always what lies here.
        """
        # A tfvars file takes precedence over the environment, so its values cannot be set here.
        settings = {
            f"TF_VAR_{name}": value if isinstance(value, str) else json.dumps(value)
            for name, value in variables.items()
        }
        done = self.deploy_command("deploy", "--env", ENVIRONMENT, "--yes", **settings)
        (self.folder / "deploy.log").write_text(done.stdout + done.stderr)
        assert done.returncode == 0, f"deploy failed:\n{(done.stdout + done.stderr)[-6000:]}"
        return replace(self, outputs=self.read_outputs())

    def read_outputs(self) -> dict[str, Any]:
        """Returns the outputs in Terraform's state in S3."""
        account = self.client("sts").get_caller_identity()["Account"]
        environment = read_environment(ENVIRONMENT)
        state = self.client("s3").get_object(
            Bucket=environment.state_bucket(account), Key=environment.state_key
        )
        found: dict[str, Any] = json.loads(state["Body"].read())["outputs"]
        return {name: output["value"] for name, output in found.items()}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Measures how long a phase takes."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - began


def check_prerequisites() -> None:
    """Skips, or fails with CI=true, naming what is missing with its remedy."""
    require_localstack()
    require("terraform", "install Terraform 1.11 or later")
    require("java", "make system-packages")
    require("chromium", "make system-packages")
    jars = (ROOT / "scripts" / "spark" / "lib" / ".fetched").exists()
    require("Spark's S3 connector", "make jars", found=jars)


@contextmanager
def running_stack() -> Iterator[Stack]:
    """A running, empty LocalStack, of which nothing is left afterwards."""
    check_prerequisites()
    with folder_with_cleanup() as folder:
        (folder / "tmp").mkdir()
        broker = replace(unstarted_broker(folder / "kafka"), iam_port=free_port())
        cloud = replace(unstarted_cloud(folder / "localstack"), region=REGION)
        stack = Stack(folder, cloud, broker)
        with stack.timed("local-up"):
            stack.up()
        yield stack

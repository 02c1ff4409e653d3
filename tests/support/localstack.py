"""Fixtures for tests against the local cloud; conftest.py lists this module in `pytest_plugins`.

`local_cloud` is one LocalStack for the whole test session, on a free port and in a folder of its
own, so it disturbs neither `make local-up` nor another test session. `aws_environment` makes AWS
clients use it, and `bucket` is a fresh S3 bucket there.
"""

import os
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
import pytest

from tests.support.paths import ROOT
from tests.support.required_tools import require

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

LOCALSTACK = ROOT / "localstack"
REGION: Final = "eu-central-1"


@dataclass(frozen=True)
class LocalCloud:
    """A LocalStack, running or not, for `localstack/*.sh`."""

    port: int
    folder: Path
    region: str = REGION

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which any AWS client, in this process or another, uses it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }

    def redirect_clients(self, patch: pytest.MonkeyPatch) -> None:
        """Makes AWS clients of this process, and of processes that it starts, use it."""
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in self.environment.items():
            patch.setenv(name, value)
        # boto3's own session keeps the credentials that it first found.
        patch.setattr(boto3, "DEFAULT_SESSION", None)

    def s3(self) -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def script(
        self, name: str, environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run localstack/NAME.sh for this instance, in this process's environment or another."""
        if environment is None:
            # A developer's own LocalStack and the files of its clusters must stay untouched.
            environment = {k: v for k, v in os.environ.items() if not k.startswith("LOCAL_")}
        settings = {
            "LOCALSTACK_PORT": str(self.port),
            "LOCALSTACK_FOLDER": str(self.folder),
            "LOCALSTACK_STOP_SECONDS": "1",
        }
        return subprocess.run(
            [str(LOCALSTACK / f"{name}.sh")],
            env={**environment, **settings},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )


def require_localstack() -> None:
    """Skip or fail the running test where LocalStack is not installed."""
    require(
        "LocalStack's environment (Python 3.13)",
        "make localstack-setup",
        found=(LOCALSTACK / ".venv" / ".setup").exists(),
    )


def unstarted_cloud(folder: Path) -> LocalCloud:
    """Choose a free port for a LocalStack in `folder`; skips where it is not installed."""
    require_localstack()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return LocalCloud(listener.getsockname()[1], folder)


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """One running LocalStack for the whole session."""
    cloud = unstarted_cloud(tmp_path_factory.mktemp("localstack"))
    started = cloud.script("up")
    assert started.returncode == 0, started.stderr
    yield cloud
    cloud.script("down")


@pytest.fixture
def aws_environment(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> LocalCloud:
    """The local cloud, which AWS clients of this process use."""
    local_cloud.redirect_clients(monkeypatch)
    return local_cloud


@pytest.fixture
def bucket(aws_environment: LocalCloud) -> str:
    """The name of a fresh bucket in the local cloud."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    aws_environment.s3().create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return name

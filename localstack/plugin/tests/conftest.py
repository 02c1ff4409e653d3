"""Fixtures: a LocalStack with this plugin, on a free port and in its own folder.

``LOCALSTACK_PYTHON`` names the Python that LocalStack and this plugin are installed in; without it
``../.venv`` is looked at, which the project around this folder makes. ``LOCALSTACK_PORT`` chooses
the port, ``LOCAL_EMR_SPARK_CLASSPATH`` the jars of Spark's S3 connector.
"""

import importlib.util
import json
import os
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

HERE = Path(__file__).resolve().parent
REGION = "eu-central-1"
_JARS = HERE.parents[2] / "scripts" / "spark" / "lib"


@dataclass(frozen=True)
class Cloud:
    """A running LocalStack."""

    endpoint: str
    folder: Path
    process: "subprocess.Popen[bytes]"

    def client(self, service: str) -> Any:
        return boto3.session.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
        ).client(
            service,
            endpoint_url=self.endpoint,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )


def spark_home() -> Path:
    """Returns the folder of the pip package pyspark."""
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        pytest.skip("pyspark is not installed")
    return Path(found.origin).parent


def until(check: Callable[[], Any], seconds: float = 180) -> Any:
    """Returns the first true result."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def start_cloud(folder: Path, port: int) -> Cloud:
    python = Path(os.environ.get("LOCALSTACK_PYTHON", HERE.parents[1] / ".venv/bin/python"))
    if not python.exists():
        pytest.skip(f"no LocalStack: {python} is not there (LOCALSTACK_PYTHON)")
    classpath = os.environ.get("LOCAL_EMR_SPARK_CLASSPATH", f"{_JARS}/*")
    known = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    settings = {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "GATEWAY_SERVER": "hypercorn",
        "FILESYSTEM_ROOT": str(folder / "data"),
        "EAGER_SERVICE_LOADING": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "OVERRIDE_IN_DOCKER": "0",
        "DNS_ADDRESS": "0",
        "LOCAL_EMR_FOLDER": str(folder / "emr"),
        "LOCAL_EMR_SPARK_HOME": str(spark_home()),
        "LOCAL_EMR_SPARK_CLASSPATH": classpath,
        "LOCAL_EMR_STOP_SECONDS": "2",
        "LOCAL_EMR_MOUNT": str(folder / "mnt"),
        "LOCAL_EMR_NODE_ENV_GREETING": "hello node",
        "LOCAL_EMR_NODE_ENV_TOOL_MNT": str(folder / "mnt"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(python), "-P", "-m", "localstack.runtime.main"],
            env=known | settings,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    cloud = Cloud(f"http://127.0.0.1:{port}", folder, process)
    try:
        until(lambda: _answers(cloud), 120)
    except BaseException:
        # Nothing else can stop the process.
        stop_cloud(cloud)
        raise
    return cloud


def _answers(cloud: Cloud) -> bool:
    assert cloud.process.poll() is None, (cloud.folder / "log").read_text()[-3000:]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{cloud.endpoint}/_localstack/health", timeout=2) as page:
            return "services" in json.load(page)
    except OSError:
        return False


def stop_cloud(cloud: Cloud) -> None:
    cloud.process.terminate()
    try:
        cloud.process.wait(20)
    except subprocess.TimeoutExpired:
        cloud.process.kill()
        cloud.process.wait()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    port = int(os.environ.get("LOCALSTACK_PORT") or _free_port())
    started = start_cloud(tmp_path_factory.mktemp("cloud"), port)
    yield started
    stop_cloud(started)


@pytest.fixture(scope="session")
def start_another_cloud() -> Callable[[Path], Cloud]:
    """Starts another LocalStack on a free port; the test must stop it."""
    return lambda folder: start_cloud(folder, _free_port())


@pytest.fixture(scope="session")
def stop_another_cloud() -> Callable[[Cloud], None]:
    """Stops a LocalStack."""
    return stop_cloud


@pytest.fixture(scope="session")
def emr(cloud: Cloud) -> Any:
    return cloud.client("emr")


@pytest.fixture(scope="session")
def s3(cloud: Cloud) -> Any:
    return cloud.client("s3")


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name

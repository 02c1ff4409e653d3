"""`make smoke` on the shared stack: uploads without a broker, a run, pixels, page, clean-up."""

import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.smoke.services import Site
from deploy.smoke.verdicts import CHECKS
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.service.supervisor import free_port
from tests.local_cloud.executions import clients_on
from tests.local_cloud.stack import ENVIRONMENT, Stack
from tests.support.http_server import until

_SUPERRES = Path(sys.executable).with_name("superres")
# What the local cloud proves of the list; the others need what it does not have.
PROVEN = {
    "Step Functions accepts the state machine, and follows steps without events:PutRule",
    "A cluster in private subnets starts with the endpoint of ours",
    "Bootstrap actions install on EMR's image",
    "Spark's S3 connector gets 404 for missing keys",
    "Tables that Spark writes are encrypted with our key",
    "EMR copies the logs of steps to S3",
    "S3's events reach the page through the encrypted queue",
    "EventBridge's events reach the page through the encrypted queue",
}


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Iterator[Settings]:
    """The deployed configuration; from now on this process can use the cloud too."""
    with clients_on(stack):
        yield load_settings(stack.outputs["config_uri"], {})


def token(stack: Stack, service: str) -> str:
    """Returns the token of a service; makes one if no instance has started yet."""
    client, secret = stack.client("secretsmanager"), stack.outputs["tokens"][service]
    try:
        value = client.get_secret_value(SecretId=secret)["SecretString"]
    except client.exceptions.ResourceNotFoundException:
        value = secrets.token_hex(24)
        client.put_secret_value(SecretId=secret, SecretString=value)
    return str(value)


@contextmanager
def serving(stack: Stack, folder: Path, unit: str, **variables: str) -> Iterator[str]:
    """Runs a service of this checkout with the deployed configuration; yields its address."""
    port, folder = free_port(), folder / unit
    folder.mkdir()
    site = Site(f"http://127.0.0.1:{port}", "no token is needed for health")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [_SUPERRES, unit, "--config", stack.outputs["config_uri"], "--port", str(port)],
            env=stack.environment | variables,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: site.answers() or process.poll() is not None, 90)
        assert process.poll() is None, (folder / "log").read_text(errors="replace")
        yield site.address
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def uploaded_before(settings: Settings) -> set[str]:
    """What other tests of this stack have uploaded."""
    return {file.uri for file in storage.list_files(settings.ingestion.uploads_dir)}


@pytest.fixture(scope="module")
def printed(
    stack: Stack, uploaded_before: set[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, str]:
    """Exit code and output of the command, with uploads that do without Kafka."""
    folder = tmp_path_factory.mktemp("services")
    uploads = {
        "SUPERRES_KAFKA__ENABLED": "false",
        "SUPERRES_UPLOAD_TOKEN": token(stack, "uploads"),
    }
    queues = stack.outputs["queues"]
    notify = {
        "SUPERRES_NOTIFIER_TOKEN": token(stack, "notifier"),
        "SUPERRES_NOTIFIER__EVENTS_QUEUE_URL": queues["evaluations"],
        "SUPERRES_NOTIFIER__RUNS_QUEUE_URL": queues["run_status"],
    }
    with (
        serving(stack, folder, "uploads", **uploads) as uploads_url,
        serving(stack, folder, "notify", **notify) as page_url,
        stack.timed("smoke"),
    ):
        addresses = ["--page", page_url, "--uploads", uploads_url]
        done = stack.deploy_command("smoke", "--env", ENVIRONMENT, *addresses)
    return done.returncode, done.stdout + done.stderr


def test_ten_images_are_right_and_nothing_failed(printed):
    code, text = printed
    assert "10 of 10 images are right, sample by sample" in text
    assert code == 0, text


def test_there_is_a_verdict_on_each_thing(printed):
    _, text = printed
    found = dict(
        re.findall(r"^  (.+): (proven|failed|not in this environment)", text, re.MULTILINE)
    )
    assert found.keys() == CHECKS.keys()
    assert {title for title, verdict in found.items() if verdict == "proven"} == PROVEN, text


def test_nothing_of_it_is_left(printed, settings, uploaded_before):
    left = [
        file.uri
        for folder in vars(settings.dataset).values()
        for file in storage.list_files(folder, hidden=True)
        if "smoke" in file.uri
    ]
    assert left == []
    uploaded = {file.uri for file in storage.list_files(settings.ingestion.uploads_dir)}
    assert uploaded == uploaded_before

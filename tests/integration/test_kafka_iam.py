"""The broker's IAM listener accepts the same tokens as MSK; the services authenticate with them."""

import base64
import os
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from time import time
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from structlog.testing import capture_logs

from ingestion import topics
from ingestion.consumer import consumer, service
from ingestion.producer import publish
from ingestion.topics import client_conf, require_topics
from superres.errors import PrerequisiteError
from superres.pipeline.config import Ingestion, Kafka, Settings
from superres.pipeline.records import ImageReference
from tests.support.http_server import until
from tests.support.ingestion_processes import World, unreadable_id
from tests.support.kafka_broker import IAM_REGION, PATIENCE, Broker
from tests.support.localstack import LocalCloud, unstarted_cloud

if TYPE_CHECKING:
    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient

pytestmark = pytest.mark.kafka


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def kafka(iam_broker: Broker) -> Kafka:
    return Kafka(
        bootstrap_servers=iam_broker.iam_bootstrap,
        security="iam",
        region=IAM_REGION,
        ca_file=str(iam_broker.ca_file),
    )


# ---- the services


@pytest.fixture(scope="module")
def cloud(iam_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    """A local cloud whose MSK returns the address of the broker."""
    cloud = unstarted_cloud(tmp_path_factory.mktemp("localstack"))
    brokers = {"LOCAL_MSK_BROKERS_SASL_IAM": iam_broker.iam_bootstrap}
    started = cloud.script("up", {**os.environ, **brokers})
    assert started.returncode == 0, started.stderr
    yield cloud
    cloud.script("down")


@pytest.fixture
def of_msk(kafka: Kafka, cloud: LocalCloud, monkeypatch) -> Kafka:
    """As on AWS: a cluster with IAM only, whose brokers are looked up in MSK."""
    cloud.redirect_clients(monkeypatch)
    made = boto3.client("kafka").create_cluster(
        ClusterName=f"test-{uuid.uuid4().hex[:8]}",
        KafkaVersion="3.9.x.kraft",
        NumberOfBrokerNodes=2,
        BrokerNodeGroupInfo={"ClientSubnets": ["a", "b"], "InstanceType": "kafka.m7g.large"},
        ClientAuthentication={"Sasl": {"Iam": {"Enabled": True}}},
    )
    return kafka.model_copy(
        update={"cluster_arn": made["ClusterArn"], "bootstrap_servers": "nowhere:1"}
    )


class ReferenceList:
    """A source of given references."""

    def __init__(self, references: Sequence[ImageReference]) -> None:
        self._references = references

    def units(self, _: Event) -> Iterator[ImageReference]:
        yield from self._references

    def references(self, unit: ImageReference) -> list[ImageReference]:
        return [unit]


@pytest.mark.parametrize(
    "settings", ["kafka", pytest.param("of_msk", marks=[pytest.mark.localstack, pytest.mark.slow])]
)
def test_published_references_are_consumed(iam_broker, tmp_path: Path, settings: str, request):
    kafka: Kafka = request.getfixturevalue(settings)
    given = {
        f"KAFKA__{name.upper()}": str(value)
        for name, value in kafka.model_dump(exclude_defaults=True).items()
    }
    with World(iam_broker, f"{tmp_path}/images", tmp_path / "scratch", given) as world:
        consuming = world.consumer()
        topic = {"topic": world.topic, "dead_letter_topic": world.dead_topic}
        published = publish(
            ReferenceList(world.offer(5)), kafka.model_copy(update=topic), 2, Event()
        )
        assert (published.acknowledged, published.failures) == (5, [])
        world.send((None, b"nonsense"))
        world.bad[unreadable_id(b"nonsense")] = "JSON"
        world.settle()
        assert len(world.dead_letters()) == 1
        consuming.terminate()
        assert consuming.wait() == 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"region": "us-east-1"}, "it is for us-east-1, not eu-central-1"),
        ({"ca_file": None}, "certificate verify failed"),
        ({"ca_file": "nowhere.pem"}, r"ssl\.ca\.location failed"),
    ],
)
def test_a_refused_client_is_reported_with_the_reason_in_one_line(
    kafka, monkeypatch, wrong, reason
):
    monkeypatch.setattr(topics, "_TIMEOUT_SECONDS", 3.0)
    require_topics(kafka)
    with pytest.raises(PrerequisiteError, match=rf"{reason}.*; check kafka\.security") as caught:
        require_topics(kafka.model_copy(update=wrong))
    assert "\n" not in str(caught.value)


def test_a_consumer_that_is_refused_later_logs_it_once(kafka, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "require_topics", lambda _: None)  # accepted at the start
    monkeypatch.setattr(consumer, "_LEAVE_SECONDS", 0.5)
    ingestion = Ingestion(consumer_port=0, threads=1)
    elsewhere = kafka.model_copy(update={"region": "us-east-1"})
    settings = Settings(ingestion=ingestion, kafka=elsewhere)
    stop = Event()
    with capture_logs() as logs, ThreadPoolExecutor() as pool:
        consuming = pool.submit(service.consume, settings, stop)
        try:
            until(lambda: any(log["event"] == "kafka" for log in logs), PATIENCE)
            stop.wait(5)  # long enough for some more attempts
        finally:
            stop.set()
        assert consuming.result(PATIENCE) == (0, 0)
    (reason,) = [log["reason"] for log in logs if log["event"] == "kafka"]
    assert "it is for us-east-1, not eu-central-1" in reason


# ---- tokens


def token(change: Callable[[str], str] = lambda url: url) -> str:
    """A token of the signer, with a change to its URL."""
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

    signed, _ = MSKAuthTokenProvider.generate_auth_token(IAM_REGION)
    url = base64.urlsafe_b64decode(signed + "=" * (-len(signed) % 4)).decode()
    return base64.urlsafe_b64encode(change(url).encode()).decode().rstrip("=")


def with_(name: str, value: str) -> Callable[[str], str]:
    """Replaces the value of a parameter of the URL."""

    def change(url: str) -> str:
        changed, count = re.subn(rf"{name}=[^&]*", f"{name}={value}", url)
        assert count == 1
        return changed

    return change


def signed(ago: timedelta) -> Callable[[str], str]:
    """Changes the time of signing, consistently in all parameters."""

    def change(url: str) -> str:
        then = datetime.now(UTC) - ago
        scope = rf"test%2F{then:%Y%m%d}%2F{IAM_REGION}%2Fkafka-cluster%2Faws4_request"
        url = with_("X-Amz-Date", f"{then:%Y%m%dT%H%M%SZ}")(url)
        return with_("X-Amz-Credential", scope)(url)

    return change


def client_with(kafka: Kafka, tokens: Callable[[], str]) -> "tuple[AdminClient, list[str]]":
    """A client that authenticates with these tokens, and a list of its refusals."""
    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient

    def collect(error: "KafkaError") -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            refusals.append(error.str())

    refusals: list[str] = []
    own: dict[str, Any] = {
        "oauth_cb": lambda _: (tokens(), time() + 3),
        "error_cb": collect,
    }
    return AdminClient(client_conf(kafka) | own), refusals


def first(refusals: list[str], client: "AdminClient") -> str:
    """Waits for the first refusal of a token and returns it."""
    found: list[str] = []

    def refused() -> bool:
        client.poll(0.1)
        found.extend(each for each in refusals if "invalid_token" in each)
        return bool(found)

    until(refused, PATIENCE)
    return found[0]


@pytest.mark.parametrize("change", [lambda url: url, signed(timedelta(minutes=14))])
def test_a_valid_token_is_accepted(kafka, change):
    client, refusals = client_with(kafka, lambda: token(change))
    assert kafka.topic in client.list_topics(timeout=PATIENCE).topics
    client.poll(0)
    assert not refusals


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda: "garbage", "it is no URL"),
        (lambda: token(lambda _: "not-a-url"), "it is for no broker of MSK"),
        (
            lambda: token(lambda url: url.replace("amazonaws", "example")),
            "it is for no broker of MSK",
        ),
        (lambda: token(lambda url: url.replace("https", "http")), "its URL is not https"),
        (lambda: token(lambda url: url.replace(IAM_REGION, "us-east-1")), "it is for us-east-1"),
        (
            lambda: token(lambda url: url.replace(f"F{IAM_REGION}", "Fus-east-1")),
            "it is signed for us-east-1",
        ),
        (
            lambda: token(with_("Action", "kafka-cluster%3ADescribeCluster")),
            "its action is no Connect",
        ),
        (lambda: token(with_("X-Amz-Algorithm", "none")), "it is not signed with SigV4"),
        (lambda: token(with_("X-Amz-SignedHeaders", "date")), "its host is not signed"),
        (lambda: token(with_("X-Amz-Signature", "")), "it has no signature"),
        (lambda: token(with_("X-Amz-Credential", "test")), "its credential is malformed"),
        (lambda: token(with_("X-Amz-Date", "20260131T000000Z")), "its dates differ"),
        (lambda: token(with_("X-Amz-Expires", "901")), "it lives longer than 15 minutes"),
        (lambda: token(with_("X-Amz-Expires", "-1")), "its lifetime is malformed"),
        (lambda: token(lambda url: url + "&Action=Other"), "it has a parameter twice"),
        (lambda: token(signed(timedelta(minutes=16))), "it expired at"),
        (lambda: token(signed(timedelta(minutes=-6))), "it is signed in the future"),
    ],
)
def test_an_invalid_token_is_refused_with_the_reason(kafka, wrong, reason):
    client, refusals = client_with(kafka, wrong)
    assert f"invalid_token: {reason}" in first(refusals, client)


def test_a_session_ends_with_its_token(kafka):
    good = iter([token(with_("X-Amz-Expires", "8"))])
    client, refusals = client_with(kafka, lambda: next(good, "garbage"))
    assert kafka.topic in client.list_topics(timeout=PATIENCE).topics
    client.poll(0)
    assert not refusals
    assert "invalid_token: it is no URL" in first(refusals, client)


# ---- the certificate


def test_the_certificate_is_kept_across_restarts(kafka, iam_broker):
    before = iam_broker.ca_file.read_bytes()
    assert iam_broker.folder.joinpath("key.p12").stat().st_mode & 0o077 == 0
    iam_broker.stop()
    iam_broker.start()
    assert iam_broker.ca_file.read_bytes() == before
    require_topics(kafka)

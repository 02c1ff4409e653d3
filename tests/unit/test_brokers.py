"""Brokers of Amazon MSK: asked for over its real protocol, of a server on this machine."""

import json
import uuid
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from ingestion import brokers
from ingestion.brokers import brokers_of
from ingestion.topics import require_topics
from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.config import Kafka, validated
from tests.support.http_server import HttpServer
from tests.support.kafka_broker import Broker

ARN = "arn:aws:kafka:eu-central-1:123456789012:cluster/superres-dev/0d2f3c4e-1"


@pytest.fixture
def msk(monkeypatch) -> Iterator[HttpServer]:
    brokers._asked.cache_clear()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    with HttpServer() as source:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{source.host}")
        yield source
    brokers._asked.cache_clear()


def answer(source: HttpServer, arn: str, status: int = 200, **content: str) -> None:
    path = f"/v1/clusters/{quote(arn, safe='')}/bootstrap-brokers"
    headers = {"Content-Type": "application/json"}
    source.serve(path, json.dumps(content).encode(), status=status, headers=headers)


def test_without_a_cluster_the_configured_brokers_count():
    assert brokers_of(Kafka(bootstrap_servers="a:1,b:2")) == "a:1,b:2"


def test_msk_is_asked_once_for_the_listener_of_the_security(msk):
    answer(msk, ARN, bootstrapBrokerString="a:9092", bootstrapBrokerStringSaslIam="a:9098,b:9098")
    kafka = Kafka(cluster_arn=ARN, security="iam")
    assert [brokers_of(kafka), brokers_of(kafka)] == ["a:9098,b:9098"] * 2
    assert sum(msk.hits.values()) == 1
    assert brokers_of(kafka.model_copy(update={"security": "plaintext"})) == "a:9092"


def test_a_cluster_without_that_listener_is_told(msk):
    answer(msk, ARN, bootstrapBrokerString="a:9092")
    with pytest.raises(ConfigError, match=r"kafka\.security: iam: arn:.* has no listener"):
        brokers_of(Kafka(cluster_arn=ARN, security="iam"))


def test_a_refusal_of_msk_is_one_line(msk):
    answer(msk, ARN, status=403, message="not authorized to perform kafka:GetBootstrapBrokers")
    with pytest.raises(PrerequisiteError, match=r"cluster_arn: .*GetBootstrapBrokers") as caught:
        brokers_of(Kafka(cluster_arn=ARN, security="iam"))
    assert "\n" not in str(caught.value)


def test_what_is_no_arn_of_a_cluster_is_refused():
    with pytest.raises(ConfigError, match=r"kafka\.cluster_arn"):
        validated({"kafka": {"cluster_arn": "superres-dev"}}, "config.yaml")


@pytest.mark.kafka
def test_topics_that_are_missing_on_msk_are_made_as_its_brokers_are_configured(msk, broker: Broker):
    answer(msk, ARN, bootstrapBrokerString=broker.bootstrap)
    names = [f"{part}-{uuid.uuid4().hex[:8]}" for part in ("images", "dead")]
    kafka = Kafka(cluster_arn=ARN, topic=names[0], dead_letter_topic=names[1])
    require_topics(kafka)
    require_topics(kafka)  # they are there now
    assert set(names) <= set(broker.topics())


@pytest.mark.kafka
def test_topics_that_are_missing_elsewhere_are_told(broker: Broker):
    kafka = Kafka(bootstrap_servers=broker.bootstrap, topic="nowhere")
    with pytest.raises(PrerequisiteError, match="has no topic 'nowhere'"):
        require_topics(kafka)
    assert "nowhere" not in broker.topics()

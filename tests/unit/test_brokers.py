"""The brokers of Amazon MSK, looked up over its real protocol at a server on this machine."""

from collections.abc import Iterator

import pytest

from ingestion.brokers import brokers_of
from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.config import Kafka
from superres.pipeline.config_file import validated
from tests.support.http_server import HttpServer
from tests.support.msk_server import CLUSTER_ARN, msk_server, serve_brokers


@pytest.fixture
def msk(monkeypatch) -> Iterator[HttpServer]:
    with msk_server(monkeypatch) as server:
        yield server


def test_without_a_cluster_the_configured_brokers_count():
    assert brokers_of(Kafka(bootstrap_servers="a:1,b:2")) == "a:1,b:2"


def test_msk_is_asked_once_for_the_listener_of_the_configured_security(msk):
    serve_brokers(msk, bootstrapBrokerString="a:9092", bootstrapBrokerStringSaslIam="a:9098,b:9098")
    kafka = Kafka(cluster_arn=CLUSTER_ARN, security="iam")
    assert [brokers_of(kafka), brokers_of(kafka)] == ["a:9098,b:9098"] * 2
    assert sum(msk.hits.values()) == 1
    assert brokers_of(kafka.model_copy(update={"security": "plaintext"})) == "a:9092"


def test_a_cluster_without_that_listener_is_reported(msk):
    serve_brokers(msk, bootstrapBrokerString="a:9092")
    with pytest.raises(ConfigError, match=r"kafka\.security: iam: arn:.* has no listener"):
        brokers_of(Kafka(cluster_arn=CLUSTER_ARN, security="iam"))


def test_a_refusal_of_msk_is_reported_in_one_line(msk):
    serve_brokers(msk, 403, message="not authorized to perform kafka:GetBootstrapBrokers")
    with pytest.raises(PrerequisiteError, match=r"cluster_arn: .*GetBootstrapBrokers") as caught:
        brokers_of(Kafka(cluster_arn=CLUSTER_ARN, security="iam"))
    assert "\n" not in str(caught.value)


def test_anything_but_the_arn_of_a_cluster_is_refused():
    with pytest.raises(ConfigError, match=r"kafka\.cluster_arn"):
        validated({"kafka": {"cluster_arn": "superres-dev"}}, "config.yaml")

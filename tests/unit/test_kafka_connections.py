"""How clients connect to Kafka, by the configured security."""

import base64
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from confluent_kafka import KafkaError, KafkaException

from ingestion import topics
from ingestion.topics import client_conf, require_topics
from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.config import Kafka
from superres.service.supervisor import free_port


def test_plaintext_needs_no_credentials():
    conf = client_conf(Kafka(bootstrap_servers="a:1,b:2"))
    assert conf["bootstrap.servers"] == "a:1,b:2"
    assert "security.protocol" not in conf


def test_sasl_reads_its_secrets_from_the_environment(monkeypatch):
    kafka = Kafka(security="sasl_ssl", ca_file="/ca.pem")
    monkeypatch.setenv("SUPERRES_KAFKA_USERNAME", "ada")
    monkeypatch.delenv("SUPERRES_KAFKA_PASSWORD", raising=False)
    with pytest.raises(ConfigError, match="SUPERRES_KAFKA_PASSWORD in the environment") as caught:
        client_conf(kafka)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("SUPERRES_KAFKA_PASSWORD", "secret")
    conf = client_conf(kafka)
    assert conf["security.protocol"] == "SASL_SSL"
    assert conf["ssl.ca.location"] == "/ca.pem"
    assert (conf["sasl.username"], conf["sasl.password"]) == ("ada", "secret")


def test_iam_signs_a_token_for_the_configured_region(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=r"set kafka\.region"):
        client_conf(Kafka(security="iam"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    conf = client_conf(Kafka(security="iam", region="eu-central-1"))
    assert conf["sasl.mechanisms"] == "OAUTHBEARER"
    token, expires = conf["oauth_cb"]("")
    padding = "=" * (-len(token) % 4)
    url = urlsplit(base64.urlsafe_b64decode(token + padding).decode())
    assert url.netloc == "kafka.eu-central-1.amazonaws.com"
    assert parse_qs(url.query)["Action"] == ["kafka-cluster:Connect"]
    assert parse_qs(url.query)["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert 60 <= expires - time.time() <= 900


@pytest.mark.slow
def test_a_missing_broker_is_reported_with_the_remedy(monkeypatch):
    monkeypatch.setattr(topics, "_TIMEOUT_SECONDS", 1.0)
    with pytest.raises(PrerequisiteError, match=r"does not answer .*make kafka-up"):
        require_topics(Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}"))


class _Coordinatorless:
    """A consumer whose first commits fail, as with a broker that has just started."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.commits = 0

    def commit(self, **_: Any) -> None:
        self.commits += 1
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))


def test_the_coordinator_of_a_group_is_waited_for(monkeypatch):
    monkeypatch.setattr(topics, "_PAUSE_SECONDS", 0.0)
    loading = KafkaError.COORDINATOR_LOAD_IN_PROGRESS
    consumer: Any = _Coordinatorless(loading, KafkaError.NOT_COORDINATOR, loading)
    topics._commit(consumer, [])
    assert consumer.commits == 4
    refused: Any = _Coordinatorless(KafkaError.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaException):
        topics._commit(refused, [])
    assert refused.commits == 1

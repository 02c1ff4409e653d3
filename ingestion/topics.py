"""Connections to Kafka, by the configuration's security: plaintext, SASL over TLS, or MSK's IAM."""

import os
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic  # its type stub knows it here only

from ingestion.brokers import brokers_of
from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.config import Kafka

_ANSWER_SECONDS = 20.0  # a fresh broker's first answers are slow
ClientConf = dict[str, Any]
FOR_GROUP = "superres-for"
"""The header that names the consumer group whose message it is; without it, it is every group's."""


def client_conf(kafka: Kafka) -> ClientConf:
    """What every client of this broker is configured with.

    Raises ``ConfigError`` when the environment lacks what the security asks for.
    """
    conf: ClientConf = {
        "bootstrap.servers": brokers_of(kafka),
        "client.id": "superres",
        # librdkafka tells of every lost connection; what fails for good is raised anyway.
        "log_level": 2,
        "reconnect.backoff.max.ms": 2000,
    }
    if kafka.security == "plaintext":
        return conf
    conf["security.protocol"] = "SASL_SSL"
    if kafka.ca_file is not None:
        conf["ssl.ca.location"] = kafka.ca_file
    if kafka.security == "iam":
        return conf | {"sasl.mechanisms": "OAUTHBEARER", "oauth_cb": _msk_token(_region(kafka))}
    return conf | {
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": _secret("SUPERRES_KAFKA_USERNAME"),
        "sasl.password": _secret("SUPERRES_KAFKA_PASSWORD"),
    }


def reason_of(errors: Iterable[KafkaError]) -> str:
    """Why no broker answers, of what a client's ``error_cb`` was told; empty when nothing tells."""
    reasons = [each.str() for each in errors if each.code() != KafkaError._ALL_BROKERS_DOWN]
    return reasons[-1] if reasons else ""


def require_topics(kafka: Kafka) -> None:
    """Makes sure that the broker answers and has both topics; on Amazon MSK, makes them.

    Raises ``PrerequisiteError`` with the remedy when that fails.
    """
    admin, topics = _asked(kafka)
    for topic in (kafka.topic, kafka.dead_letter_topic):
        if topic in topics:
            continue
        if kafka.cluster_arn is not None:
            _make(admin, topic)
        else:
            raise PrerequisiteError(
                f"Kafka at {kafka.bootstrap_servers} has no topic {topic!r}; "
                "create it, or start the broker with scripts/kafka/start.sh, which does"
            )


def _asked(kafka: Kafka) -> tuple[AdminClient, Collection[str]]:
    """A client, and the topics there are."""
    heard: list[KafkaError] = []
    conf = client_conf(kafka) | {"error_cb": heard.append}
    try:
        admin = AdminClient(conf)  # with IAM it waits for its first token
        try:
            return admin, admin.list_topics(timeout=_ANSWER_SECONDS).topics
        finally:
            admin.poll(0)  # hears what became of its connections
    except KafkaException as error:
        # What the call itself says is only that there was no connection.
        reason = reason_of(heard) or error.args[0].str()
        remedy = "start one with scripts/kafka/start.sh or set kafka.bootstrap_servers"
        if kafka.security != "plaintext":
            remedy = "look at kafka.security, ca_file and region, and at what it signs in with"
        raise PrerequisiteError(
            f"Kafka at {brokers_of(kafka)} does not answer ({reason}); {remedy}"
        ) from None


def _make(admin: AdminClient, topic: str) -> None:
    """As the brokers' num.partitions and default.replication.factor say (KIP-464)."""
    wanted = NewTopic(topic, num_partitions=-1, replication_factor=-1)
    try:
        admin.create_topics([wanted], request_timeout=_ANSWER_SECONDS)[topic].result()
    except KafkaException as error:
        # Another service may have been quicker.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise PrerequisiteError(
                f"topic {topic!r} cannot be made: {error.args[0].str()}"
            ) from None


def group_from_now(kafka: Kafka) -> Kafka:
    """A consumer group of its own that begins at the topic's present end.

    What others have left on the topic is theirs.
    """
    fresh = kafka.model_copy(update={"group": f"{kafka.group}-{uuid.uuid4().hex[:8]}"})
    conf = client_conf(fresh) | {"group.id": fresh.group, "enable.auto.commit": False}
    consumer = Consumer(conf)
    try:
        topic = consumer.list_topics(kafka.topic, timeout=_ANSWER_SECONDS).topics[kafka.topic]
        ends = []
        for number in topic.partitions:
            partition = TopicPartition(kafka.topic, number)
            _, end = consumer.get_watermark_offsets(partition, timeout=_ANSWER_SECONDS)
            ends.append(TopicPartition(kafka.topic, number, end))
        consumer.commit(offsets=ends, asynchronous=False)
    except KafkaException as error:
        raise PrerequisiteError(
            f"Kafka at {brokers_of(kafka)} gives no offsets ({error.args[0].str()})"
        ) from None
    finally:
        consumer.close()
    return fresh


def _region(kafka: Kafka) -> str:
    region = kafka.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise ConfigError("kafka.security is iam, but no region is known; set kafka.region")
    return region


def _secret(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"kafka.security is sasl_ssl, which needs {name} in the environment")
    return value


def _msk_token(region: str) -> Callable[[str], tuple[str, float]]:
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

    def token(_: str) -> tuple[str, float]:
        signed, expires_ms = MSKAuthTokenProvider.generate_auth_token(region)
        # Its clock is this machine's; a minute less, so that a renewal is never late.
        return signed, max(time.time() + 60, expires_ms / 1000 - 60)

    return token

"""Connects to Kafka by the configured security (plaintext, SASL over TLS, MSK's IAM); topics."""

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

_TIMEOUT_SECONDS = 20.0  # a fresh broker's first responses are slow
_COORDINATOR_SECONDS, _PAUSE_SECONDS = 60.0, 0.5
_NO_COORDINATOR_YET = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}
ClientConf = dict[str, Any]
FOR_GROUP = "superres-for"
"""The header that names the only consumer group for a message; without it, every group reads it."""


def client_conf(kafka: Kafka) -> ClientConf:
    """The configuration common to all clients of these brokers.

    Raises ``ConfigError`` when the environment lacks what the configured security needs.
    """
    conf: ClientConf = {
        "bootstrap.servers": brokers_of(kafka),
        "client.id": "superres",
        # librdkafka logs every lost connection; permanent failures are raised anyway.
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
    """Why no broker answers, from the errors passed to a client's ``error_cb``; may be empty."""
    reasons = [each.str() for each in errors if each.code() != KafkaError._ALL_BROKERS_DOWN]
    return reasons[-1] if reasons else ""


def require_topics(kafka: Kafka) -> None:
    """Checks that the broker answers and has both topics; on Amazon MSK, creates missing ones.

    Raises ``PrerequisiteError`` with the remedy when that fails.
    """
    admin, topics = _existing_topics(kafka)
    for topic in (kafka.topic, kafka.dead_letter_topic):
        if topic in topics:
            continue
        if kafka.cluster_arn is not None:
            _create(admin, topic)
        else:
            raise PrerequisiteError(
                f"Kafka at {kafka.bootstrap_servers} has no topic {topic!r}; "
                "create it, or start the broker with `make kafka-up`, which creates it"
            )


def _existing_topics(kafka: Kafka) -> tuple[AdminClient, Collection[str]]:
    """A client, and the existing topics."""
    errors: list[KafkaError] = []
    conf = client_conf(kafka) | {"error_cb": errors.append}
    try:
        admin = AdminClient(conf)  # with IAM it waits for its first token
        try:
            return admin, admin.list_topics(timeout=_TIMEOUT_SECONDS).topics
        finally:
            admin.poll(0)  # runs error_cb
    except KafkaException as error:
        # The exception itself only says that there was no connection.
        reason = reason_of(errors) or error.args[0].str()
        remedy = "start one with `make kafka-up` or set kafka.bootstrap_servers"
        if kafka.security != "plaintext":
            remedy = "check kafka.security, ca_file, region and the credentials"
        raise PrerequisiteError(
            f"Kafka at {brokers_of(kafka)} does not answer ({reason}); {remedy}"
        ) from None


def _create(admin: AdminClient, topic: str) -> None:
    """With the brokers' num.partitions and default.replication.factor (KIP-464)."""
    new = NewTopic(topic, num_partitions=-1, replication_factor=-1)
    try:
        admin.create_topics([new], request_timeout=_TIMEOUT_SECONDS)[topic].result()
    except KafkaException as error:
        # Another service may have created it meanwhile.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise PrerequisiteError(
                f"topic {topic!r} cannot be created: {error.args[0].str()}"
            ) from None


def group_from_now(kafka: Kafka) -> Kafka:
    """The configuration with a new consumer group that starts at the current end of the topic."""
    fresh = kafka.model_copy(update={"group": f"{kafka.group}-{uuid.uuid4().hex[:8]}"})
    conf = client_conf(fresh) | {"group.id": fresh.group, "enable.auto.commit": False}
    consumer = Consumer(conf)
    try:
        topic = consumer.list_topics(kafka.topic, timeout=_TIMEOUT_SECONDS).topics[kafka.topic]
        ends = []
        for number in topic.partitions:
            partition = TopicPartition(kafka.topic, number)
            _, end = consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_SECONDS)
            ends.append(TopicPartition(kafka.topic, number, end))
        _commit(consumer, ends)
    except KafkaException as error:
        raise PrerequisiteError(
            f"Kafka at {brokers_of(kafka)} does not return its offsets ({error.args[0].str()})"
        ) from None
    finally:
        consumer.close()
    return fresh


def _commit(consumer: Consumer, offsets: list[TopicPartition]) -> None:
    """Commits; waits for the group's coordinator, which a broker that has just started lacks."""
    deadline = time.monotonic() + _COORDINATOR_SECONDS
    while True:
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
            return
        except KafkaException as error:
            if error.args[0].code() not in _NO_COORDINATOR_YET or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


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
        # The signer uses this machine's clock; a minute less, so that the renewal is never late.
        return signed, max(time.time() + 60, expires_ms / 1000 - 60)

    return token

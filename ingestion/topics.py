"""Connections to Kafka, by the configuration's security: plaintext, SASL over TLS, or MSK's IAM."""

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from superres.config import Kafka
from superres.errors import ConfigError, PrerequisiteError

_ANSWER_SECONDS = 20.0  # a fresh broker's first answers are slow
ClientConf = dict[str, Any]
FOR_GROUP = "superres-for"
"""The header that names the consumer group whose message it is; without it, it is every group's."""


def client_conf(kafka: Kafka) -> ClientConf:
    """What every client of this broker is configured with.

    Raises ``ConfigError`` when the environment lacks what the security asks for.
    """
    conf: ClientConf = {
        "bootstrap.servers": kafka.bootstrap_servers,
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


def require_topics(kafka: Kafka) -> None:
    """Makes sure that the broker answers and has both topics.

    Raises ``PrerequisiteError`` with the remedy when it does not.
    """
    admin = AdminClient(client_conf(kafka))
    admin.poll(0)  # the first IAM token is made here
    try:
        topics = admin.list_topics(timeout=_ANSWER_SECONDS).topics
    except KafkaException as error:
        raise PrerequisiteError(
            f"Kafka at {kafka.bootstrap_servers} does not answer ({error.args[0].str()}); "
            "start one with scripts/kafka_start.sh or set kafka.bootstrap_servers"
        ) from None
    for topic in (kafka.topic, kafka.dead_letter_topic):
        if topic not in topics:
            raise PrerequisiteError(
                f"Kafka at {kafka.bootstrap_servers} has no topic {topic!r}; "
                "create it, or start the broker with scripts/kafka_start.sh, which does"
            )


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
            f"Kafka at {kafka.bootstrap_servers} gives no offsets ({error.args[0].str()})"
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

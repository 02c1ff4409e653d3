"""``superres uploads``: the upload application under Gunicorn, with one Kafka producer."""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Thread

import click
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from flask import Flask

from ingestion.topics import client_conf
from ingestion.uploads.app import create_app
from superres.cli.options import config_option, config_or_default
from superres.errors import ConfigError, TransferError
from superres.pipeline.config import Kafka, load_settings
from superres.pipeline.records import ImageReference
from superres.service.server import KEEP_ALIVE_SECONDS, serve
from superres.service.tokens import token_from

TOKEN = "SUPERRES_UPLOAD_TOKEN"
"""The environment variable that holds the token."""
_THREADS = 32  # a slow sender holds one
_ACKNOWLEDGED_SECONDS = 10.0
_ANSWER_SECONDS = 2.0
_STOP_SECONDS = 110  # what is being sent may finish; container services kill after 120
_POLL_SECONDS = 0.2


@click.command(epilog=f"Example: {TOKEN}=$(openssl rand -hex 16) superres uploads")
@click.option("--host", help="Address to listen on.  [default: configured]")
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free.  [default: configured]")
@config_option
def uploads(host: str | None, port: int | None, config: str | None) -> None:
    """Take uploads over HTTP, with a page to drop files on, until stopped.

    The page is /uploads. Logs are JSON lines on standard error.
    """
    settings = load_settings(config_or_default(config))
    token = token_from(os.environ, TOKEN)
    if token is None:
        raise ConfigError(
            f"uploads need a token: set {TOKEN} in the environment, to `openssl rand -hex 16` say"
        )
    host = host or settings.ingestion.upload_host
    port = settings.ingestion.upload_port if port is None else port
    options = {
        "page": "/uploads",
        "threads": _THREADS,
        "graceful_timeout": _STOP_SECONDS,
        "keepalive": KEEP_ALIVE_SECONDS,
        "proc_name": "superres uploads",
    }

    def load(_: Callable[[], bool]) -> Flask:
        publisher = Publisher(settings.kafka)
        return create_app(settings, token, publisher.publish, publisher.ready)

    serve(load, host, port, options)


class Publisher:
    """Puts references on Kafka and waits for the acknowledgement; for many threads.

    To be made in the process that uses it: librdkafka's threads do not survive a fork.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._topic = kafka.topic
        self._producer = Producer(
            client_conf(kafka)
            | {
                "enable.idempotence": True,
                "acks": "all",
                # What was not acknowledged in time is told so, and must not pile up.
                "delivery.timeout.ms": int(_ACKNOWLEDGED_SECONDS * 1000),
            }
        )
        Thread(target=self._poll, name="kafka", daemon=True).start()

    def publish(self, references: Sequence[ImageReference]) -> None:
        """Returns once all are acknowledged.

        Raises ``TransferError`` when one is not in time; to publish all of them again is safe.
        """
        deadline = time.monotonic() + _ACKNOWLEDGED_SECONDS
        waiting = [self._send(reference) for reference in references]
        done, late = wait(waiting, deadline - time.monotonic())
        for delivery in done:
            delivery.result()
        if late:
            raise TransferError(f"Kafka has not acknowledged {len(late)} references in time")

    def ready(self) -> str:
        """Asks the broker for the topic."""
        try:
            topic = self._producer.list_topics(self._topic, _ANSWER_SECONDS).topics[self._topic]
        except KafkaException as error:
            return f"Kafka does not answer: {error.args[0].str()}"
        return "" if topic.error is None else f"Kafka's topic: {topic.error.str()}"

    def _send(self, reference: ImageReference) -> "Future[None]":
        delivery: Future[None] = Future()

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is None:
                delivery.set_result(None)
            else:
                delivery.set_exception(TransferError(f"Kafka did not take it: {error.str()}"))

        content, key = reference.to_json().encode(), reference.image_id.encode()
        try:
            self._producer.produce(self._topic, content, key, on_delivery=delivered)
        except (KafkaException, BufferError) as error:
            raise TransferError(f"Kafka cannot be sent to: {error}") from None
        return delivery

    def _poll(self) -> None:
        while True:
            self._producer.poll(_POLL_SECONDS)

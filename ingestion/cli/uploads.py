"""``superres uploads``: serves the upload application with Gunicorn and one Kafka producer.

Without a broker (``kafka.enabled``), the service stores the uploaded images itself.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from threading import Thread

import click
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from flask import Flask

from ingestion.direct.pending import PendingUploads
from ingestion.topics import client_conf
from ingestion.uploads.app import create_app
from ingestion.uploads.readiness import unwritable_folders
from superres.cli.options import config_option, config_or_default
from superres.errors import ConfigError, TransferError
from superres.pipeline.config import Kafka
from superres.pipeline.config_file import load_settings
from superres.pipeline.records import ImageReference
from superres.service.health import Kept
from superres.service.server import Server, serve
from superres.service.tokens import token_from

TOKEN = "SUPERRES_UPLOAD_TOKEN"
"""The environment variable that holds the token."""
_THREADS = 32
_ACKNOWLEDGED_SECONDS = 10.0
_METADATA_SECONDS = 2.0
_POLL_SECONDS = 0.2


@click.command(epilog=f"Example: {TOKEN}=$(openssl rand -hex 16) superres uploads")
@click.option("--host", help="Address to listen on.  [default: configured]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port; 0 for any free one.  [default: configured]",
)
@config_option
def uploads(host: str | None, port: int | None, config: str | None) -> None:
    """Serve a page and an HTTP interface for uploading images, until stopped.

    The page is at /uploads. Logs are JSON lines on standard error. With kafka.enabled false, the
    service stores the images itself, those too that a previous one left behind.
    """
    settings = load_settings(config_or_default(config))
    token = token_from(os.environ, TOKEN)
    if token is None:
        raise ConfigError(
            f"uploads need a token: set {TOKEN} in the environment, "
            "for example to the output of `openssl rand -hex 16`"
        )
    server = Server(
        name="superres uploads",
        host=host or settings.ingestion.upload_host,
        port=settings.ingestion.upload_port if port is None else port,
        page="/uploads",
        threads=_THREADS,
        drain_seconds=settings.ingestion.drain_seconds,
        behind_proxies=settings.ingestion.upload_proxies > 0,
    )

    folder = settings.ingestion.uploads_dir

    def load(running: Callable[[], bool]) -> Flask:
        if not settings.kafka.enabled:
            pending = PendingUploads(settings, running)
            return create_app(
                settings,
                token,
                pending.publish,
                Kept(lambda: pending.ready() or unwritable_folders(folder)),
                pending.registry,
                pending.alive,
            )
        publisher = Publisher(settings.kafka)
        return create_app(
            settings,
            token,
            publisher.publish,
            Kept(lambda: publisher.ready() or unwritable_folders(folder)),
        )

    serve(load, server)


class Publisher:
    """Produces references to Kafka and waits for acknowledgement; safe for many threads.

    Create it in the process that uses it: librdkafka's threads do not survive a fork.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._topic = kafka.topic
        self._producer = Producer(
            client_conf(kafka)
            | {
                "enable.idempotence": True,
                "acks": "all",
                # A message that was not acknowledged in time is reported, and must not pile up.
                "delivery.timeout.ms": int(_ACKNOWLEDGED_SECONDS * 1000),
            }
        )
        Thread(target=self._poll, name="kafka", daemon=True).start()

    def publish(self, references: Sequence[ImageReference]) -> None:
        """Returns once all are acknowledged.

        Raises ``TransferError`` when one is not acknowledged in time; publishing all of them again
        is safe.
        """
        deadline = time.monotonic() + _ACKNOWLEDGED_SECONDS
        pending = [self._produce(reference) for reference in references]
        done, late = wait(pending, deadline - time.monotonic())
        for acknowledgement in done:
            acknowledgement.result()
        if late:
            raise TransferError(f"Kafka did not acknowledge {len(late)} references in time")

    def ready(self) -> str:
        """Returns why the topic cannot be used; empty when it can."""
        try:
            topic = self._producer.list_topics(self._topic, _METADATA_SECONDS).topics[self._topic]
        except KafkaException as error:
            return f"Kafka does not answer: {error.args[0].str()}"
        return "" if topic.error is None else f"Kafka's topic: {topic.error.str()}"

    def _produce(self, reference: ImageReference) -> "Future[None]":
        acknowledgement: Future[None] = Future()

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            if error is None:
                acknowledgement.set_result(None)
            else:
                failure = TransferError(f"Kafka did not accept the reference: {error.str()}")
                acknowledgement.set_exception(failure)

        content, key = reference.to_message().encode(), reference.image_id.encode()
        try:
            self._producer.produce(self._topic, content, key, on_delivery=on_delivery)
        except (KafkaException, BufferError) as error:
            raise TransferError(f"cannot produce to Kafka: {error}") from None
        return acknowledgement

    def _poll(self) -> None:
        while True:
            self._producer.poll(_POLL_SECONDS)

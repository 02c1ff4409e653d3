"""The dead-letter topic: messages that could not be used, with the reason in their headers."""

from threading import Event, Thread
from typing import Self

import structlog
from confluent_kafka import KafkaError, Message, Producer

from ingestion.topics import client_conf
from superres.config import Kafka
from superres.records import RejectedImage

_log = structlog.get_logger()


class _Word:
    """What the broker says about one message."""

    def __init__(self) -> None:
        self.given = Event()
        self.failure: str | None = None

    def take(self, error: KafkaError | None, _: Message) -> None:
        self.failure = None if error is None else error.str()
        self.given.set()


class DeadLetters:
    """Sends to the dead-letter topic and waits for the broker's word; for any number of threads."""

    def __init__(self, kafka: Kafka, stop: Event) -> None:
        self._topic = kafka.dead_letter_topic
        self._producer = Producer(client_conf(kafka) | {"acks": "all", "enable.idempotence": True})
        self._stop = stop
        self._closed = Event()
        self._polling = Thread(target=self._poll, name="dead-letters", daemon=True)

    def __enter__(self) -> Self:
        self._polling.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._polling.join()

    def send(self, key: bytes | None, value: bytes, record: RejectedImage, origin: str) -> bool:
        """Sends a message as it came; False when told to stop before the broker acknowledged it."""
        headers: list[tuple[str, str | bytes | None]] = [
            ("reason", record.reason),
            ("stage", record.stage),
            ("image_id", record.image_id),
            ("origin", origin),
        ]
        while not self._stop.is_set():
            word = _Word()
            try:
                self._producer.produce(
                    self._topic, value, key, headers=headers, on_delivery=word.take
                )
            except BufferError:
                self._stop.wait(0.5)
                continue
            while not word.given.wait(0.2):
                if self._stop.is_set():
                    return False
            if word.failure is None:
                return True
            _log.warning("dead_letter_failed", reason=word.failure, origin=origin)
        return False

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)

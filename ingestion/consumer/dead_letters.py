"""The dead-letter topic: messages that could not be used, with the reason in their headers."""

from collections.abc import Sequence
from threading import Event, Thread
from typing import Self

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingestion.topics import client_conf
from superres.pipeline.config import Kafka
from superres.pipeline.records import RejectedImage

_log = structlog.get_logger()
Header = tuple[str, str | bytes | None]
_MOST_BYTES = 4 << 20  # the broker's limit is the one that counts
_AGAIN_SECONDS = 1.0
_ANSWER_SECONDS = 2.0


class _Word:
    """What the broker says about one message."""

    def __init__(self) -> None:
        self.given = Event()
        self.failure: KafkaError | None = None

    def take(self, error: KafkaError | None, _: Message | None = None) -> None:
        self.failure = error
        self.given.set()


class DeadLetters:
    """Sends to the dead-letter topic and waits for the broker's word; for any number of threads."""

    def __init__(self, kafka: Kafka, stop: Event) -> None:
        self._topic = kafka.dead_letter_topic
        # Not idempotent: one letter too many does no harm, and there is no error it cannot outlive.
        conf = {"acks": "all", "message.max.bytes": _MOST_BYTES}
        self._producer = Producer(client_conf(kafka) | conf)
        self._stop = stop
        self._closed = Event()
        self._polling = Thread(target=self._poll, name="dead-letters", daemon=True)

    def __enter__(self) -> Self:
        self._polling.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._polling.join()

    def ready(self) -> str:
        """Asks the broker for the topic; why it cannot be sent to, or nothing."""
        try:
            self._producer.list_topics(self._topic, _ANSWER_SECONDS)
        except KafkaException as error:
            return f"Kafka does not answer: {error.args[0].str()}"
        return ""

    def send(
        self,
        key: bytes | None,
        value: bytes,
        headers: Sequence[Header],
        record: RejectedImage,
        origin: str,
    ) -> bool:
        """Sends a message as it came; False when told to stop before the broker acknowledged it.

        Our headers follow its own. A message that they make too large for the topic goes without
        its value, or else without key and headers too: all of it is still where it came from.
        """
        content: bytes | None = value
        ours: list[Header] = [
            ("reason", record.reason),
            ("stage", record.stage),
            ("image_id", record.image_id),
            ("origin", origin),
        ]
        smaller = [
            (
                None,
                None,
                [*ours, ("left_out", "value, key and headers, too large with a reason")],
            ),
            (None, key, [*headers, *ours, ("left_out", "the value, too large with a reason")]),
        ]
        headers = [*headers, *ours]
        while not self._stop.is_set():
            word = _Word()
            try:
                self._producer.produce(
                    self._topic, content, key, headers=list(headers), on_delivery=word.take
                )
            except BufferError:
                self._stop.wait(_AGAIN_SECONDS)
                continue
            except KafkaException as error:
                word.take(error.args[0])
            while not word.given.wait(0.2):
                if self._stop.is_set():
                    return False
            if word.failure is None:
                return True
            _log.warning("dead_letter_failed", reason=word.failure.str(), origin=origin)
            if word.failure.code() == KafkaError.MSG_SIZE_TOO_LARGE and smaller:
                content, key, headers = smaller.pop()
            else:
                self._stop.wait(_AGAIN_SECONDS)
        return False

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)

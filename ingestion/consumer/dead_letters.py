"""The dead-letter topic: rejected messages, with the reason in their headers.

Without ``kafka.dead_letters_keep_urls``, the URLs in a message are redacted: a dead letter is kept
and read by others than its message.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Self

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingestion.consumer.messages import Header
from ingestion.topics import client_conf
from superres.pipeline.config import Kafka
from superres.pipeline.records import RejectedImage
from superres.redaction import redacted, redacted_url

_log = structlog.get_logger()
_MAX_BYTES = 4 << 20  # the broker's limit is the one that counts
_RETRY_SECONDS = 1.0
_READY_SECONDS = 2.0


@dataclass(frozen=True)
class _DeadLetter:
    """A message for the dead-letter topic."""

    value: bytes | None
    key: bytes | None
    headers: list[Header]


class _Acknowledgement:
    """The broker's answer to one message."""

    def __init__(self) -> None:
        self.error: KafkaError | None = None
        self._received = Event()

    def receive(self, error: KafkaError | None, _: Message | None = None) -> None:
        self.error = error
        self._received.set()

    def wait(self, stop: Event) -> bool:
        """Waits for the answer; False when ``stop`` is set first."""
        while not self._received.wait(0.2):
            if stop.is_set():
                return False
        return True


class DeadLetters:
    """Produces to the dead-letter topic and waits for the acknowledgement; thread-safe."""

    def __init__(self, kafka: Kafka, stop: Event) -> None:
        self._topic = kafka.dead_letter_topic
        self._keep_urls = kafka.dead_letters_keep_urls
        # Not idempotent: a duplicate does no harm, and the producer survives every error.
        conf = {"acks": "all", "message.max.bytes": _MAX_BYTES}
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
        """Asks the broker for the topic; returns why that failed, or an empty string."""
        try:
            self._producer.list_topics(self._topic, _READY_SECONDS)
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
        """Sends a rejected message; False when stopped before the broker acknowledged it.

        Our headers follow those of the message. If they make it too large for the topic, it is sent
        without its value, or else without key and headers, too; and without its value where that is
        no JSON in which URLs could be redacted. ``origin`` says where all of it still is.
        """
        ours: list[Header] = [
            ("reason", record.reason),
            ("stage", record.stage),
            ("image_id", record.image_id),
            ("origin", origin),
        ]
        message = _DeadLetter(value, key, [*headers])
        if not self._keep_urls:
            message = _redacted_message(message)
        versions = _ever_smaller(message, ours)
        letter = next(versions)
        while not self._stop.is_set():
            try:
                acknowledgement = self._produce(letter)
            except BufferError:
                self._stop.wait(_RETRY_SECONDS)
                continue
            if not acknowledgement.wait(self._stop):
                return False
            failure = acknowledgement.error
            if failure is None:
                return True
            _log.warning("dead_letter_failed", reason=failure.str(), origin=origin)
            too_large = failure.code() == KafkaError.MSG_SIZE_TOO_LARGE
            if too_large and (smaller := next(versions, None)):
                letter = smaller
            else:
                self._stop.wait(_RETRY_SECONDS)
        return False

    def _produce(self, letter: _DeadLetter) -> _Acknowledgement:
        """Enqueues a message; raises ``BufferError`` while the producer's queue is full."""
        acknowledgement = _Acknowledgement()
        try:
            self._producer.produce(
                self._topic,
                letter.value,
                letter.key,
                headers=letter.headers,
                on_delivery=acknowledgement.receive,
            )
        except KafkaException as error:
            acknowledgement.receive(error.args[0])
        return acknowledgement

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(0.1)


def _ever_smaller(message: _DeadLetter, ours: Sequence[Header]) -> Iterator[_DeadLetter]:
    """The message with our headers: complete, without its value, and with our headers only."""
    value, key, headers = message.value, message.key, message.headers
    if value is not None:
        yield _DeadLetter(value, key, [*headers, *ours])
    reason = "which may hold a secret" if value is None else "too large with a reason"
    yield _DeadLetter(None, key, [*headers, *ours, ("left_out", f"the value, {reason}")])
    left_out: Header = ("left_out", "value, key and headers, too large with a reason")
    yield _DeadLetter(None, None, [*ours, left_out])


def _redacted_message(message: _DeadLetter) -> _DeadLetter:
    """The same message without the secrets of URLs."""
    headers: list[Header] = [(name, _redacted_bytes(value)) for name, value in message.headers]
    try:
        content = _redacted_json(json.loads(message.value or b""))
    except (ValueError, RecursionError):
        return _DeadLetter(None, _redacted_bytes(message.key), headers)
    value = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return _DeadLetter(value, _redacted_bytes(message.key), headers)


def _redacted_json(content: Any) -> Any:
    if isinstance(content, dict):
        return {redacted(name): _redacted_field(name, each) for name, each in content.items()}
    if isinstance(content, list):
        return [_redacted_json(each) for each in content]
    return redacted(content) if isinstance(content, str) else content


def _redacted_field(name: str, content: Any) -> Any:
    is_url = name == "url" and isinstance(content, str)
    return redacted_url(content) if is_url else _redacted_json(content)


def _redacted_bytes(content: str | bytes | None) -> bytes | None:
    text = content.decode(errors="surrogateescape") if isinstance(content, bytes) else content
    return None if text is None else redacted(text).encode(errors="surrogateescape")

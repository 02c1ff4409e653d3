"""A Kafka message as the consumer's threads see it."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import Any

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

Header = tuple[str, str | bytes | None]


@dataclass(frozen=True)
class Assignment:
    """The time during which a partition is assigned to this consumer.

    ``ending``: threads begin nothing new, but may finish what they have begun. ``over``: results
    no longer count.
    """

    ending: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)


@dataclass(frozen=True)
class ReceivedMessage:
    """A message as received, with the number of this attempt at it."""

    assignment: Assignment
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    sent_at: datetime
    headers: tuple[Header, ...] = ()
    attempt: int = 1

    @property
    def size(self) -> int:
        """Its approximate size in memory, in bytes."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.key or b"") + len(self.value) + headers


def received(message: Message, assignment: Assignment) -> ReceivedMessage:
    """The message that a poll returned; it must not be an error."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    headers = message.headers()
    return ReceivedMessage(
        assignment,
        partition,
        offset,
        _bytes(message.key()),
        _bytes(message.value()) or b"",
        _sent_at(message),
        tuple(headers) if isinstance(headers, list) else (),
    )


def _bytes(content: Any) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def _sent_at(message: Message) -> datetime:
    kind, milliseconds = message.timestamp()
    if kind != TIMESTAMP_NOT_AVAILABLE:
        # A producer may set any number.
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return datetime.now(UTC)

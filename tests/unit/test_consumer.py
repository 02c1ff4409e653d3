"""The consumer without a broker: unexpected errors, bookkeeping, lag and end detection.

test_ingestion_faults.py runs it against a real broker.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from ingestion.consumer import consumer, dead_letters
from ingestion.consumer.consumer import ImageConsumer
from ingestion.consumer.dead_letters import DeadLetters
from ingestion.consumer.handling import Handler
from ingestion.consumer.messages import Assignment, ReceivedMessage
from ingestion.consumer.outcomes import Abandoned, Finished, RetryLater
from ingestion.consumer.prometheus_metrics import new_metrics
from ingestion.consumer.recent_images import RecentImages
from ingestion.consumer.workers import Workers
from ingestion.topics import FOR_GROUP
from superres.pipeline import storage
from superres.pipeline.config import Kafka
from superres.pipeline.records import RejectedImage
from superres.service.supervisor import free_port
from tests.support.source_reading import NOON, WANTED


class FakeDeadLetters:
    """Collects the reasons."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def send(self, key: Any, value: Any, headers: Any, record: RejectedImage, origin: str) -> bool:
        self.reasons.append(record.reason)
        return True


class BrokenFetcher:
    """A fetcher with a bug."""

    def fetched(self, url: str) -> bytes:
        raise ZeroDivisionError(url)


class FakeClient:
    """A Kafka client without a broker; no message has been received yet."""

    def __init__(self, committed: int = -1001, watermarks: tuple[int, int] = (0, 5)) -> None:
        self._committed, self._watermarks = committed, watermarks

    def get_watermark_offsets(self, *_: Any, **__: Any) -> tuple[int, int]:
        return self._watermarks

    def position(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        return asked  # unknown before the first message

    def committed(self, asked: list[TopicPartition], _: float) -> list[TopicPartition]:
        return [TopicPartition(each.topic, each.partition, self._committed) for each in asked]

    def list_topics(self, topic: str, _: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=[0, 1])})

    def incremental_unassign(self, _: list[TopicPartition]) -> None: ...


def polled(offset: int, value: bytes = b"", headers: Any = None, error: Any = None) -> Any:
    """A message of partition 0 as a poll returns it."""
    fields = {"partition": 0, "offset": offset, "key": b"key", "value": value, "headers": headers}
    fields |= {"error": error, "timestamp": (0, 0)}
    return SimpleNamespace(**{name: lambda found=found: found for name, found in fields.items()})


def end_of_partition(offset: int) -> Any:
    return polled(offset, error=KafkaError(KafkaError._PARTITION_EOF))


def already_set() -> Event:
    event = Event()
    event.set()
    return event


@pytest.fixture
def make_consumer(run_setup, monkeypatch) -> Callable[..., Any]:
    """Makes a consumer with partition 0 assigned, whose messages stay in flight."""

    def make(client: Any = None, **options: Any) -> Any:
        monkeypatch.setattr(consumer, "Consumer", lambda _: client or FakeClient())
        parts: Any = (BrokenFetcher(), FakeDeadLetters(), new_metrics(), Event())
        image_consumer: Any = ImageConsumer(Handler(run_setup.settings, *parts), Event(), **options)
        image_consumer._partitions.assign(0)
        return image_consumer

    monkeypatch.setattr(Workers, "submit", lambda *_: None)
    return make


def in_flight(image_consumer: Any, offset: int, value: bytes = b"") -> ReceivedMessage:
    """The message of partition 0 with this offset, which the consumer has received."""
    assignment = image_consumer._partitions[0].assignment
    return ReceivedMessage(assignment, 0, offset, b"key", value, NOON)


# ---- one message


def test_a_message_with_an_unexpected_error_is_retried_and_then_rejected(run_setup):
    letters, stop = FakeDeadLetters(), Event()
    parts: Any = (BrokenFetcher(), letters, new_metrics(), stop)
    handler = Handler(run_setup.settings, *parts)
    reference = WANTED.reference("a", "http://example.org/a.png", "test")
    first = ReceivedMessage(Assignment(), 0, 7, b"key", reference.to_json().encode(), NOON)
    assert isinstance(handler.handle(first), RetryLater)
    assert letters.reasons == []
    last = replace(first, attempt=run_setup.settings.ingestion.attempts + 1)
    assert handler.handle(last) == Finished()
    assert letters.reasons == ["unexpected error; see the consumer log"]
    assert len(storage.list_files(run_setup.layout.rejections)) == 1
    last.assignment.ending.set()
    assert handler.handle(last) == Abandoned()


def test_the_oldest_recent_image_is_forgotten():
    recent = RecentImages(capacity=2)
    for image_id in ("a", "b", "b", "c"):
        recent.add(image_id)
    assert [image_id in recent for image_id in "abc"] == [False, True, True]


# ---- messages in flight


def test_failing_storage_blocks_only_while_a_message_is_waiting_for_it(make_consumer):
    image_consumer = make_consumer()
    image_consumer._handler.storage_health.failed(
        "no disk"
    )  # and then its partition was revoked, say
    assert image_consumer._has_room()
    image_consumer._receive(polled(7))
    assert not image_consumer._has_room()
    assert image_consumer.storage_failing == "no disk"
    image_consumer._settle(in_flight(image_consumer, 7), Abandoned())
    assert image_consumer._has_room()
    assert image_consumer.storage_failing == ""


def test_messages_in_flight_are_bounded_by_their_bytes(make_consumer):
    image_consumer = make_consumer()
    for offset in range(33):
        assert image_consumer._has_room() == (offset < 32)
        image_consumer._receive(polled(offset, bytes(1 << 20)))
    assert not image_consumer._has_room(0.5)
    for offset in range(33):
        image_consumer._settle(in_flight(image_consumer, offset, bytes(1 << 20)), Abandoned())
    assert image_consumer._partitions.bytes_in_flight == 0
    assert image_consumer._has_room(0.5)


@pytest.mark.parametrize("own_only", [False, True])
def test_a_message_for_another_group_is_skipped(run_setup, make_consumer, own_only):
    group = run_setup.settings.kafka.group.encode()
    image_consumer = make_consumer(own_only=own_only)
    partitions = image_consumer._partitions
    image_consumer._receive(polled(0, headers=[("trace", b"7"), (FOR_GROUP, b"another")]))
    assert (partitions.messages_in_flight, partitions[0].offsets.to_commit()) == (0, 1)
    image_consumer._receive(polled(1, headers=[(FOR_GROUP, group)]))
    assert partitions.messages_in_flight == 1
    image_consumer._receive(polled(2, headers=[("trace", b"7")]))
    assert partitions.messages_in_flight == (1 if own_only else 2)


def test_a_stop_while_partitions_are_revoked_has_one_deadline(make_consumer):
    image_consumer = make_consumer()
    ingestion = image_consumer._settings.ingestion.model_copy(update={"drain_seconds": 0.2})
    image_consumer._settings = image_consumer._settings.model_copy(update={"ingestion": ingestion})
    image_consumer._receive(polled(7))
    image_consumer._stop.set()
    image_consumer._drain([0])  # as partitions are revoked
    assert image_consumer._partitions.messages_in_flight == 1
    assert image_consumer._drain_ends(time.monotonic()) <= time.monotonic()


# ---- lag and end


def test_the_lag_is_known_before_the_first_message(make_consumer):
    for committed, expected in ((3, 2), (-1001, 5)):
        image_consumer = make_consumer(FakeClient(committed))
        image_consumer._lag.measure()
        registry = image_consumer._handler.metrics.registry
        lag = registry.get_sample_value("superres_ingestion_lag", {"partition": "0"})
        assert lag == expected


def test_the_end_does_not_depend_on_a_revoked_partition(run_setup, make_consumer):
    image_consumer = make_consumer(last_sent=already_set())
    image_consumer._partitions.assign(1)
    image_consumer._partitions[1].end = 5
    image_consumer._forget([TopicPartition(run_setup.settings.kafka.topic, 1)])
    assert not image_consumer._end.reached()
    image_consumer._receive(end_of_partition(5))
    assert image_consumer._end.reached()


@pytest.mark.parametrize(
    ("committed", "watermarks", "reached"),
    [(5, (0, 5), True), (4, (0, 5), False), (-1001, (0, 5), False), (-1001, (5, 5), True)],
)
def test_without_a_partition_the_whole_group_must_reach_the_end(
    make_consumer, committed, watermarks, reached
):
    image_consumer = make_consumer(FakeClient(committed, watermarks), last_sent=already_set())
    image_consumer._partitions.clear()
    assert image_consumer._end.reached() == reached


# ---- without a broker


def test_a_missing_broker_is_reported_and_does_not_delay_the_end(make_consumer, monkeypatch):
    monkeypatch.setattr(consumer, "_LEAVE_SECONDS", 0.1)
    monkeypatch.setattr(dead_letters, "_READY_SECONDS", 0.1)
    image_consumer, answered = make_consumer(), Event()
    image_consumer._client.close = lambda: answered.wait(10)
    start = time.monotonic()
    image_consumer._leave()
    assert time.monotonic() - start < 5
    answered.set()
    kafka = Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}")
    assert "does not answer" in DeadLetters(kafka, Event()).ready()

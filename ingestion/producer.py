"""The producer: a pool of threads asks the source, one thread publishes to Kafka.

Both what the pool works on and what the broker has not acknowledged are bounded, so memory stays
flat however much a source holds.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Event, Semaphore, Thread
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingestion.sources.base import Source
from ingestion.topics import FOR_GROUP, client_conf, reason_of
from superres.errors import SuperresError
from superres.pipeline.config import Kafka
from superres.pipeline.records import ImageReference

Unit = TypeVar("Unit")
_FLUSH_SECONDS, _FLUSH_SECONDS_AT_STOP = 60.0, 10.0  # without another acknowledgement
_UNACKNOWLEDGED = 1000
_WAIT_SECONDS = 0.1
_KEPT_FAILURES = 20
_KEPT_ERRORS = 10
_CATCH_UP_SECONDS = 1.0  # of a rate, after a source that was slow


@dataclass
class Published:
    """What became of a source.

    Attributes:
        references: given to Kafka.
        acknowledged: those that all in-sync replicas have.
        failed: how often something went wrong.
        failures: one line for each of the first of them.
    """

    references: int = 0
    acknowledged: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)

    def fail(self, line: str, count: int = 1) -> None:
        """Takes down what went wrong."""
        self.failed += count
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(line)


@dataclass(frozen=True)
class Pace:
    """How much to publish: ``limit`` references in all, ``rate`` a second; None: no bound."""

    limit: int | None = None
    rate: float | None = None


def publish(
    source: Source[Unit],
    kafka: Kafka,
    threads: int,
    stop: Event,
    pace: Pace = Pace(),
    told: Callable[[Published], None] = lambda _: None,
    for_group: str | None = None,
) -> Published:
    """Publishes every reference of a source until it ends, the limit is reached or ``stop`` is set.

    ``stop`` is set when this returns early. Whatever was published is by then acknowledged by all
    in-sync replicas, or counted among the failures. ``told`` hears of the counts now and then.
    ``for_group`` is the only consumer group to take what is published.
    """
    heard: deque[KafkaError] = deque(maxlen=_KEPT_ERRORS)
    producer = Producer(
        client_conf(kafka)
        | {
            "error_cb": heard.append,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "lz4",
            "delivery.timeout.ms": 300_000,  # a broker that restarts is waited for
        }
    )
    published = Published()
    headers: list[tuple[str, str | bytes | None]] = [(FOR_GROUP, for_group)] if for_group else []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            published.acknowledged += 1
        else:
            key = message.key()
            name = key.decode() if isinstance(key, bytes) else key
            published.fail(f"{name}: Kafka did not take it: {error.str()}")

    turns = _Turns(pace.rate)
    for future in _in_pool(source, threads, stop):
        for reference in _references(future, published):
            _keep_pace(producer, turns, stop)
            if stop.is_set():
                break
            content = reference.to_json().encode()
            key = reference.image_id.encode()
            try:
                producer.produce(kafka.topic, content, key, headers=headers, on_delivery=delivered)
            except KafkaException as error:
                if error.args[0].fatal():
                    stop.set()  # this producer can send nothing more
                published.fail(f"{reference.image_id}: Kafka: {error.args[0].str()}")
                continue
            published.references += 1
            if published.references == pace.limit:
                stop.set()
        producer.poll(0)
        told(published)
    left = _flush(producer, lambda: stop.is_set() and published.references != pace.limit)
    if left:
        reason = reason_of(heard) or "Kafka does not answer"
        line = f"{left} references were not acknowledged ({reason}); produce them again"
        published.fail(line, left)
    told(published)
    return published


def _flush(producer: Producer, hurried: Callable[[], bool]) -> int:
    """Waits for acknowledgements; returns how many never came."""
    left, progress_at = len(producer), time.monotonic()
    while left:
        # In short turns: Python hears of a signal only between them.
        still_left = producer.flush(_WAIT_SECONDS)
        if still_left < left:
            progress_at = time.monotonic()
        left = still_left
        patience = _FLUSH_SECONDS_AT_STOP if hurried() else _FLUSH_SECONDS
        if time.monotonic() - progress_at > patience:
            break
    return left


class _Turns:
    """When the next reference may go."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._due = time.monotonic()

    def left(self) -> float:
        """Seconds until the next turn."""
        return self._due - time.monotonic()

    def take(self) -> None:
        """Takes a turn. What was let pass is made up for only in part: a rate bounds bursts too."""
        self._due = max(self._due, time.monotonic() - _CATCH_UP_SECONDS) + self._interval


def _keep_pace(producer: Producer, turns: _Turns, stop: Event) -> None:
    """Waits for the rate's next turn and for the broker to have acknowledged enough."""
    while not stop.is_set():
        left = turns.left()
        if left <= 0 and len(producer) < _UNACKNOWLEDGED:
            turns.take()
            return
        producer.poll(min(max(left, 0.001), _WAIT_SECONDS))


def _references(
    found: "Future[list[ImageReference]] | None", published: Published
) -> list[ImageReference]:
    if found is None:
        return []
    try:
        return found.result()
    except SuperresError as error:
        published.fail(str(error))
        return []


def _in_pool(
    source: Source[Unit], threads: int, stop: Event
) -> "Iterator[Future[list[ImageReference]] | None]":
    """What a pool made of the source's units, in their order; None while there is nothing new."""
    listed: Queue[Future[list[ImageReference]] | None] = Queue()
    room = Semaphore(2 * threads)

    def list_units() -> None:
        # In a thread of its own: a source that is followed may have nothing to list for hours.
        try:
            for unit in source.units(stop):
                while not room.acquire(timeout=_WAIT_SECONDS):
                    if stop.is_set():
                        return
                listed.put(pool.submit(source.references, unit))
        except BaseException as error:
            failed: Future[list[ImageReference]] = Future()
            failed.set_exception(error)
            listed.put(failed)
        finally:
            listed.put(None)

    with ThreadPoolExecutor(threads, "source") as pool:
        lister = Thread(target=list_units, name="units", daemon=True)
        lister.start()
        while True:
            try:
                future = listed.get(timeout=_WAIT_SECONDS)
            except Empty:
                yield None
                continue
            if future is None:
                break
            room.release()
            yield future
        lister.join()

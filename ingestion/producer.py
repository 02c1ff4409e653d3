"""The producer: a pool of threads reads the source, one thread publishes to Kafka.

The units in the pool and the unacknowledged references are both bounded, so memory use does not
depend on the size of the source.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Event, Semaphore, Thread

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingestion.sources.source import LeftOutError, Source, Unit
from ingestion.topics import FOR_GROUP, client_conf, reason_of
from superres.errors import SuperresError
from superres.pipeline.config import Kafka
from superres.pipeline.records import ImageReference
from superres.service.pool import Pool

_FLUSH_SECONDS, _FLUSH_SECONDS_AT_STOP = 60.0, 10.0  # without another acknowledgement
_MAX_UNACKNOWLEDGED = 1000
_WAIT_SECONDS = 0.1
_END_SECONDS = 2.0  # for reading the source when the rest of it is not wanted
_KEPT_FAILURES = 20
_KEPT_ERRORS = 10
_CATCH_UP_SECONDS = 1.0  # a slow source may be caught up with for so much of the rate


@dataclass
class Published:
    """The result of publishing a source.

    Attributes:
        references: how many were sent to Kafka.
        acknowledged: how many all in-sync replicas have acknowledged.
        failed: how many failures there were.
        failures: one line for each of the first failures.
        remarks: lines about what the source left out, which are no failures; the first ones.
    """

    references: int = 0
    acknowledged: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add_failure(self, line: str, count: int = 1) -> None:
        """Counts failures and keeps the line while there are few."""
        self.failed += count
        if len(self.failures) < _KEPT_FAILURES:
            self.failures.append(line)

    def add_remark(self, line: str) -> None:
        """Keeps a remark while there are few."""
        if len(self.remarks) < _KEPT_FAILURES:
            self.remarks.append(line)


@dataclass(frozen=True)
class Pace:
    """How much to publish: ``limit`` references, ``rate`` per second; None means unlimited."""

    limit: int | None = None
    rate: float | None = None


def publish(
    source: Source[Unit],
    kafka: Kafka,
    threads: int,
    stop: Event,
    pace: Pace = Pace(),
    on_progress: Callable[[Published], None] = lambda _: None,
    for_group: str | None = None,
) -> Published:
    """Publishes every reference of a source until it ends, the limit is reached or ``stop`` is set.

    When this returns early, ``stop`` is set. Every published reference is then acknowledged by all
    in-sync replicas or counted among the failures. ``on_progress`` is called now and then with the
    counts. ``for_group`` is the only consumer group that will consume the messages.
    """
    published = Published()
    publisher = _Publisher(kafka, for_group, published)
    rate = _RateLimit(pace.rate)
    for future in _in_pool(source, threads, stop):
        if stop.is_set():
            break
        for reference in _references(future, published):
            _wait_to_publish(publisher, rate, stop)
            if stop.is_set():
                break
            can_continue = publisher.send(reference)
            if not can_continue or published.references == pace.limit:
                stop.set()
        publisher.poll()
        on_progress(published)
    publisher.flush(hurry=lambda: stop.is_set() and published.references != pace.limit)
    on_progress(published)
    return published


class _Publisher:
    """A Kafka producer of references that counts what it sends and what is acknowledged."""

    def __init__(self, kafka: Kafka, for_group: str | None, published: Published) -> None:
        self._topic = kafka.topic
        self._headers: list[tuple[str, str | bytes | None]] = []
        if for_group:
            self._headers.append((FOR_GROUP, for_group))
        self._published = published
        self._errors: deque[KafkaError] = deque(maxlen=_KEPT_ERRORS)
        self._producer = Producer(
            client_conf(kafka)
            | {
                "error_cb": self._errors.append,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "compression.type": "lz4",
                "delivery.timeout.ms": 300_000,  # outlasts the restart of a broker
            }
        )

    @property
    def unacknowledged(self) -> int:
        """How many references were sent and not acknowledged yet."""
        return len(self._producer)

    def send(self, reference: ImageReference) -> bool:
        """Sends a reference; returns whether the producer can send more."""
        content, key = reference.to_message().encode(), reference.image_id.encode()
        try:
            self._producer.produce(
                self._topic, content, key, headers=self._headers, on_delivery=self._acknowledge
            )
        except KafkaException as error:
            self._published.add_failure(f"{reference.image_id}: Kafka: {error.args[0].str()}")
            return not error.args[0].fatal()
        self._published.references += 1
        return True

    def poll(self, seconds: float = 0) -> None:
        """Processes acknowledgements; waits at most so long for the first."""
        self._producer.poll(seconds)

    def flush(self, hurry: Callable[[], bool]) -> None:
        """Waits for acknowledgements; counts those that never arrive as failures."""
        left, progress_at = self.unacknowledged, time.monotonic()
        while left:
            # In short turns, because Python handles signals only between them.
            still_left = self._producer.flush(_WAIT_SECONDS)
            if still_left < left:
                progress_at = time.monotonic()
            left = still_left
            timeout = _FLUSH_SECONDS_AT_STOP if hurry() else _FLUSH_SECONDS
            if time.monotonic() - progress_at > timeout:
                break
        if left:
            reason = reason_of(self._errors) or "Kafka does not answer"
            line = f"{left} references were not acknowledged ({reason}); produce them again"
            self._published.add_failure(line, left)

    def _acknowledge(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._published.acknowledged += 1
            return
        key = message.key()
        name = key.decode() if isinstance(key, bytes) else key
        self._published.add_failure(f"{name}: Kafka did not accept it: {error.str()}")


class _RateLimit:
    """When the next reference may be published."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._due = time.monotonic()

    def seconds_left(self) -> float:
        """Seconds until the next reference is due; 0 or less: now."""
        return self._due - time.monotonic()

    def use(self) -> None:
        """Uses the due slot. Missed slots are made up for only in part, which bounds bursts."""
        self._due = max(self._due, time.monotonic() - _CATCH_UP_SECONDS) + self._interval


def _wait_to_publish(publisher: _Publisher, rate: _RateLimit, stop: Event) -> None:
    """Waits until the rate allows a reference and few enough are unacknowledged."""
    while not stop.is_set():
        left = rate.seconds_left()
        if left <= 0 and publisher.unacknowledged < _MAX_UNACKNOWLEDGED:
            rate.use()
            return
        publisher.poll(min(max(left, 0.001), _WAIT_SECONDS))


def published_references(
    source: Source[Unit], threads: int, stop: Event, published: Published
) -> Iterator[ImageReference | None]:
    """The references of a source, read by a pool of threads; None while nothing is new.

    Units that cannot be read are added to the failures of ``published``.
    """
    for future in _in_pool(source, threads, stop):
        references = _references(future, published)
        yield from references
        if not references:
            yield None


def _references(
    future: "Future[list[ImageReference]] | None", published: Published
) -> list[ImageReference]:
    if future is None:
        return []
    try:
        return future.result()
    except LeftOutError as error:
        published.add_remark(str(error))
        return []
    except SuperresError as error:
        published.add_failure(str(error))
        return []


def _in_pool(
    source: Source[Unit], threads: int, stop: Event
) -> "Iterator[Future[list[ImageReference]] | None]":
    """The references of the source's units, in order, read by a pool; None while nothing is new."""
    listed: Queue[Future[list[ImageReference]] | None] = Queue()
    room = Semaphore(2 * threads)

    def list_units() -> None:
        # In its own thread: a followed source may have nothing to list for hours.
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

    pool = Pool(threads, "source")
    Thread(target=list_units, name="units", daemon=True).start()
    try:
        while True:
            try:
                future = listed.get(timeout=_WAIT_SECONDS)
            except Empty:
                if stop.is_set():
                    return  # whatever is still being listed is not wanted any more
                yield None
                continue
            if future is None:
                return
            room.release()
            yield future
    finally:
        pool.close(_END_SECONDS)

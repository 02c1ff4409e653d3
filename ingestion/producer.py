"""The producer: a pool of threads asks the source, one thread publishes to Kafka.

Both what the pool works on and what the broker has not acknowledged are bounded, so memory stays
flat however much a source holds.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Event, Semaphore, Thread
from typing import TypeVar

from confluent_kafka import KafkaError, Message, Producer

from ingestion.sources.base import Source
from ingestion.topics import client_conf
from superres.config import Kafka
from superres.errors import SuperresError
from superres.records import ImageReference

Unit = TypeVar("Unit")
_FLUSH_SECONDS = 60.0
_UNACKNOWLEDGED = 1000
_WAIT_SECONDS = 0.1


@dataclass
class Published:
    """What became of a source: counts, and one line for each thing that went wrong."""

    references: int = 0
    acknowledged: int = 0
    failures: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)


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
) -> Published:
    """Publishes every reference of a source until it ends, the limit is reached or ``stop`` is set.

    ``stop`` is set when this returns early. Whatever was published is by then acknowledged by all
    in-sync replicas, or counted among the failures. ``told`` hears of the counts now and then.
    """
    producer = Producer(
        client_conf(kafka)
        | {
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "compression.type": "lz4",
            "delivery.timeout.ms": 300_000,  # a broker that restarts is waited for
        }
    )
    published = Published()

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is None:
            published.acknowledged += 1
        else:
            key = message.key()
            name = key.decode() if isinstance(key, bytes) else key
            published.failures.append(f"{name}: Kafka did not take it: {error.str()}")

    for future in _in_pool(source, threads, stop):
        for reference in _references(future, published):
            _keep_pace(producer, published, pace, stop)
            if stop.is_set():
                break
            content = reference.to_json().encode()
            key = reference.image_id.encode()
            producer.produce(kafka.topic, content, key, on_delivery=delivered)
            published.references += 1
            if published.references == pace.limit:
                stop.set()
        producer.poll(0)
        told(published)
    left = producer.flush(_FLUSH_SECONDS)
    if left:
        published.failures.append(f"{left} references were not acknowledged; produce them again")
    told(published)
    return published


def _keep_pace(producer: Producer, published: Published, pace: Pace, stop: Event) -> None:
    """Waits for the rate's next turn and for the broker to have acknowledged enough."""
    due = 0.0 if pace.rate is None else published.began + published.references / pace.rate
    while not stop.is_set():
        left = due - time.monotonic()
        if left <= 0 and len(producer) < _UNACKNOWLEDGED:
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
        published.failures.append(str(error))
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

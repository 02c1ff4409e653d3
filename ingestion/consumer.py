"""The consumer: one thread polls Kafka and keeps the books, a pool of threads does the work.

Offsets are committed per partition up to the first message that is not finished, so whatever dies,
an unfinished message comes again; what comes again is stored over itself. While the pool is full
or storage fails, partitions are paused and polling goes on, so that the group keeps this consumer.
"""

import heapq
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from threading import Event
from typing import Any

import structlog
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from ingestion.dead_letters import Header
from ingestion.handling import Assignment, Delivery, Finished, Handler, Later, Outcome
from ingestion.offsets import PartitionOffsets
from ingestion.topics import ClientConf, client_conf
from superres.config import Kafka

_log = structlog.get_logger()
_COMMIT_SECONDS = 1.0
_POLL_SECONDS = 0.1
# Messages waiting for a thread. A pause throws away what was fetched ahead; after it the first take
# a fifth of a second, for which half of these must keep the threads busy.
_WAITING = 1024


@dataclass
class Partition:
    """A partition that is ours: its books, and what its threads are told."""

    assignment: Assignment = field(default_factory=Assignment)
    offsets: PartitionOffsets = field(default_factory=PartitionOffsets)
    unfinished: int = 0


def consumer_conf(kafka: Kafka) -> ClientConf:
    """The configuration of a member of the group."""
    return client_conf(kafka) | {
        "group.id": kafka.group,
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": int(kafka.session_seconds * 1000),
        "heartbeat.interval.ms": int(min(3.0, kafka.session_seconds / 3) * 1000),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        # References are small; what is fetched ahead of a pause is thrown away.
        "queued.max.messages.kbytes": 256,
    }


class ImageConsumer:
    """Takes references from the topic until told to stop."""

    def __init__(
        self,
        handler: Handler,
        stop: Event,
        *,
        last_sent: Event | None = None,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """A consumer that ends when ``stop`` is set.

        With ``last_sent``, also once that is set, every partition is read to its end and all is
        finished. ``told`` hears, in this thread, how many messages are finished by now.
        """
        self._handler = handler
        self._settings = handler.settings
        self._metrics = handler.metrics
        self._stop = stop
        self._last_sent = last_sent
        self._told = told
        conf = consumer_conf(self._settings.kafka) | {"on_commit": self._on_commit}
        self._consumer = Consumer(conf)
        self._partitions: dict[int, Partition] = {}
        self._ends: dict[int, int] = {}  # partitions read to their end, and where that is
        self._results: queue.SimpleQueue[tuple[Delivery, Outcome]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Delivery]] = []  # heap by the time they are due
        self._order = count()
        self._in_flight = 0
        self._paused = False
        self._finished = 0
        self._committed_at = time.monotonic()
        self.turned_at = time.monotonic()

    @property
    def assigned(self) -> bool:
        """Whether the group has given partitions to this consumer."""
        return bool(self._partitions)

    def run(self) -> int:
        """Consumes, drains and commits; returns how many messages were finished."""
        most = self._settings.ingestion.threads
        with ThreadPoolExecutor(most, "fetch") as self._pool:
            self._consumer.subscribe(
                [self._settings.kafka.topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            try:
                while not (self._stop.is_set() or self._done()):
                    self._turn()
                self._drain(list(self._partitions))
                self._commit(list(self._partitions), wait=True)
            finally:
                # Whoever still waits for a storage or a broker is to give up now.
                self._handler.stop.set()
                self._partitions.clear()
                self._consumer.close()
        return self._finished

    def _turn(self) -> None:
        self.turned_at = time.monotonic()
        self._regulate()
        message = self._consumer.poll(_POLL_SECONDS)
        while message is not None:
            self._take(message)
            # More of what is already here, as long as there is room for it.
            message = self._consumer.poll(0) if self._has_room() else None
        self._take_results()
        self._resume_due()
        if time.monotonic() - self._committed_at > _COMMIT_SECONDS:
            self._commit(list(self._partitions))
        self._metrics.in_flight.set(self._in_flight)

    # ---- messages and results

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._take_error(message, error)
            return
        number, offset = message.partition(), message.offset()
        assert number is not None
        assert offset is not None
        partition = self._partitions.get(number)
        if partition is None:
            return  # it was revoked while the message was on its way
        self._ends.pop(number, None)
        partition.offsets.begin(offset)
        partition.unfinished += 1
        self._in_flight += 1
        self._metrics.messages.inc()
        self._submit(
            Delivery(
                partition.assignment,
                number,
                offset,
                _bytes(message.key()),
                _bytes(message.value()) or b"",
                _sent_at(message),
                _headers(message),
            )
        )

    def _take_error(self, message: Message, error: KafkaError) -> None:
        number, offset = message.partition(), message.offset()
        if error.code() == KafkaError._PARTITION_EOF and number is not None and offset is not None:
            self._ends[number] = offset
        elif error.fatal():
            raise KafkaException(error)
        else:
            _log.warning("kafka", reason=error.str())

    def _submit(self, delivery: Delivery) -> None:
        def work() -> None:
            self._results.put((delivery, self._handler.handle(delivery)))

        self._pool.submit(work)

    def _take_results(self, wait: float = 0.0) -> None:
        """Takes what has finished; waits for the first at most so long."""
        block = wait > 0
        while True:
            try:
                delivery, outcome = self._results.get(block, wait or None)
            except queue.Empty:
                return
            block = False
            self._settle(delivery, outcome)

    def _settle(self, delivery: Delivery, outcome: Outcome) -> None:
        if isinstance(outcome, Later) and not delivery.assignment.ending.is_set():
            due = time.monotonic() + outcome.seconds
            again = replace(delivery, attempt=delivery.attempt + 1)
            heapq.heappush(self._later, (due, next(self._order), again))
            return
        self._in_flight -= 1
        partition = self._partitions.get(delivery.partition)
        if partition is None or partition.assignment is not delivery.assignment:
            return  # too late: the partition has gone, and maybe come back
        partition.unfinished -= 1
        if isinstance(outcome, Finished):
            partition.offsets.finish(delivery.offset)
            self._finished += 1
            self._told(self._finished)

    def _resume_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self._submit(heapq.heappop(self._later)[2])

    # ---- pausing

    def _has_room(self) -> bool:
        most = self._settings.ingestion.threads + _WAITING
        return self._in_flight < most and not self._handler.storage_health.failing

    def _regulate(self) -> None:
        half = (self._settings.ingestion.threads + _WAITING) // 2
        if not self._paused and not self._has_room():
            self._set_paused(True)
        elif self._paused and self._has_room() and self._in_flight <= half:
            self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        topic = self._settings.kafka.topic
        ours = [TopicPartition(topic, number) for number in self._partitions]
        (self._consumer.pause if paused else self._consumer.resume)(ours)
        self._paused = paused
        self._metrics.paused.set(paused)

    # ---- partitions come and go

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._partitions[each.partition] = Partition()
            self._ends.pop(each.partition, None)
        self._consumer.incremental_assign(partitions)
        # Always said: librdkafka remembers a pause of a partition that went and came back.
        (self._consumer.pause if self._paused else self._consumer.resume)(partitions)
        _log.info("assigned", partitions=sorted(self._partitions))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions if each.partition in self._partitions]
        self._drain(numbers)
        self._commit(numbers, wait=True)
        self._forget(partitions)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # The group has moved on without us: another has them, so there is nothing to commit.
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            partition = self._partitions.pop(each.partition, None)
            if partition is not None:
                partition.assignment.ending.set()
                partition.assignment.over.set()
                with suppress(KeyError):  # whoever has it now tells its lag
                    self._metrics.lag.remove(each.partition)
        gone = [entry for entry in self._later if entry[2].assignment.over.is_set()]
        self._in_flight -= len(gone)
        self._later = [entry for entry in self._later if not entry[2].assignment.over.is_set()]
        heapq.heapify(self._later)
        if not self._partitions:
            # Nobody is left to find out that storage works again.
            self._handler.storage_health.worked()
        self._consumer.incremental_unassign(partitions)
        _log.info("revoked", partitions=[each.partition for each in partitions])

    def _drain(self, numbers: list[int]) -> None:
        """Lets what threads have begun of these partitions finish, within the deadline."""
        for number in numbers:
            self._partitions[number].assignment.ending.set()
        deadline = time.monotonic() + self._settings.ingestion.drain_seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take_results()
            waiting = sum(1 for entry in self._later if entry[2].partition in numbers)
            begun = sum(self._partitions[number].unfinished for number in numbers)
            # What is put off would only be put off again: it comes back to whoever is next.
            if begun <= waiting:
                return
            self._take_results(wait=min(left, _POLL_SECONDS))

    def _commit(self, numbers: list[int], *, wait: bool = False) -> None:
        self._committed_at = time.monotonic()
        topic = self._settings.kafka.topic
        offsets = [
            TopicPartition(topic, number, offset)
            for number in numbers
            if (offset := self._partitions[number].offsets.to_commit()) is not None
        ]
        self._measure_lag()
        if not offsets:
            return
        try:
            if wait:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # Nothing is lost by it: what is not committed comes again.
            _log.warning("commit_failed", reason=error.args[0].str())
            return
        for each in offsets:
            self._partitions[each.partition].offsets.committed(each.offset)

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        for each in offsets:
            failure = error or each.error
            if failure is not None and each.partition in self._partitions:
                _log.warning("commit_failed", reason=failure.str(), partition=each.partition)
                self._partitions[each.partition].offsets.committed(None)

    def _measure_lag(self) -> None:
        topic = self._settings.kafka.topic
        for number, partition in self._partitions.items():
            # As the broker told with its last answer: no request is made for it.
            _, high = self._consumer.get_watermark_offsets(
                TopicPartition(topic, number), cached=True
            )
            position = self._consumer.position([TopicPartition(topic, number)])[0].offset
            behind = high - position if position >= 0 and high >= 0 else 0
            self._metrics.lag.labels(number).set(max(0, behind) + partition.unfinished)

    def _done(self) -> bool:
        """Whether the last message was sent and all of ours are finished."""
        if self._last_sent is None or not self._last_sent.is_set() or self._in_flight:
            return False
        if not self._partitions or self._ends.keys() < self._partitions.keys():
            return False
        topic = self._settings.kafka.topic
        try:
            # Asked of the broker: what was its end a moment ago need not be so now.
            return all(
                self._consumer.get_watermark_offsets(TopicPartition(topic, number), 5.0)[1]
                == self._ends[number]
                for number in self._partitions
            )
        except KafkaException:
            return False


def _bytes(content: Any) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def _headers(message: Message) -> tuple[Header, ...]:
    headers = message.headers()
    return tuple(headers) if isinstance(headers, list) else ()


def _sent_at(message: Message) -> datetime:
    kind, milliseconds = message.timestamp()
    if kind != TIMESTAMP_NOT_AVAILABLE:
        # Whoever sends may write any number there.
        with suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return datetime.now(UTC)

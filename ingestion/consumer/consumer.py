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
from threading import Event, Thread
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

from ingestion.consumer.dead_letters import Header
from ingestion.consumer.handling import Assignment, Delivery, Finished, Handler, Later, Outcome
from ingestion.consumer.offsets import PartitionOffsets
from ingestion.topics import FOR_GROUP, ClientConf, client_conf
from superres.pipeline.config import Kafka

_log = structlog.get_logger()
_COMMIT_SECONDS = 1.0
_POLL_SECONDS = 0.1
# Messages waiting for a thread. A pause throws away what was fetched ahead; after it the first take
# a fifth of a second, for which half of these must keep the threads busy.
_WAITING = 1024
_MOST_BYTES = 32 << 20  # of messages in flight: most have half a kilobyte, some may have a thousand
_ASK_SECONDS = 5.0
_LEAVE_SECONDS = 10.0
_REFUSAL_SECONDS = 60.0  # between two lines that the broker lets nobody in


@dataclass
class Partition:
    """A partition that is ours: its books, and what its threads are told."""

    assignment: Assignment = field(default_factory=Assignment)
    offsets: PartitionOffsets = field(default_factory=PartitionOffsets)
    unfinished: int = 0
    begins: int | None = None  # where we took it over, as far as it was asked


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
        own_only: bool = False,
    ) -> None:
        """A consumer that ends when ``stop`` is set.

        With ``last_sent``, also once that is set, every partition is read to its end and all is
        finished. ``told`` hears, in this thread, how many messages are finished by now. Messages
        marked for another group are passed over; with ``own_only`` so are those without a mark.
        """
        self._handler = handler
        self._settings = handler.settings
        self._metrics = handler.metrics
        self._stop = stop
        self._last_sent = last_sent
        self._told = told
        self._own_only = own_only
        callbacks = {"on_commit": self._on_commit, "error_cb": self._on_error}
        self._consumer = Consumer(consumer_conf(self._settings.kafka) | callbacks)
        self._partitions: dict[int, Partition] = {}
        self._ends: dict[int, int] = {}  # partitions read to their end, and where that is
        self._results: queue.SimpleQueue[tuple[Delivery, Outcome]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Delivery]] = []  # heap by the time they are due
        self._order = count()
        self._in_flight = 0
        self._bytes_in_flight = 0
        self._paused = False
        self._finished = 0
        self._committed_at = time.monotonic()
        self._refused_at = -_REFUSAL_SECONDS
        self._asked_at = 0.0
        self.turned_at = time.monotonic()

    @property
    def storage_failing(self) -> str:
        """Why storage fails, as long as something in flight waits for it."""
        # Else nobody is left to find out that it works again: the next message will.
        return self._handler.storage_health.failing if self._in_flight else ""

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
                silence = self._handler.dead_letters.ready()
                _log.info("stopping", in_flight=self._in_flight, broker=silence or "ok")
                if not silence:  # else what is finished now could not be committed either
                    self._drain(list(self._partitions))
            finally:
                # Whoever still waits for a storage or a broker is to give up now.
                self._handler.stop.set()
                self._leave()
        return self._finished

    def _leave(self) -> None:
        """Commits and leaves the group; without a broker either would wait for one."""

        def leave() -> None:
            self._commit(list(self._partitions), wait=True)
            self._partitions.clear()
            self._consumer.close()

        leaving = Thread(target=leave, name="leave", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS)
        if leaving.is_alive():
            reason = "Kafka does not answer; what is not committed comes again"
            _log.warning("not_committed", reason=reason)

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
        headers = _headers(message)
        if not self._is_ours(headers):
            partition.offsets.finish(offset)
            return
        delivery = Delivery(
            partition.assignment,
            number,
            offset,
            _bytes(message.key()),
            _bytes(message.value()) or b"",
            _sent_at(message),
            headers,
        )
        partition.unfinished += 1
        self._in_flight += 1
        self._bytes_in_flight += delivery.size
        self._metrics.messages.inc()
        self._submit(delivery)

    def _is_ours(self, headers: tuple[Header, ...]) -> bool:
        groups = [value for name, value in headers if name == FOR_GROUP]
        return self._settings.kafka.group.encode() in groups if groups else not self._own_only

    def _take_error(self, message: Message, error: KafkaError) -> None:
        number, offset = message.partition(), message.offset()
        if error.code() == KafkaError._PARTITION_EOF and number is not None and offset is not None:
            self._ends[number] = offset
        elif error.fatal():
            raise KafkaException(error)
        else:
            _log.warning("kafka", reason=error.str())

    def _on_error(self, error: KafkaError) -> None:
        # A lost connection librdkafka mends by itself; a sign-in that is refused somebody must.
        now = time.monotonic()
        if error.code() == KafkaError._AUTHENTICATION and now - self._refused_at > _REFUSAL_SECONDS:
            self._refused_at = now
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
        self._bytes_in_flight -= delivery.size
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

    def _has_room(self, share: float = 1.0) -> bool:
        """Whether less is in flight than this share of what may be."""
        most = (self._settings.ingestion.threads + _WAITING) * share
        small = self._bytes_in_flight < _MOST_BYTES * share
        return self._in_flight < most and small and not self.storage_failing

    def _regulate(self) -> None:
        if not self._paused and not self._has_room():
            self._set_paused(True)
        elif self._paused and self._has_room(0.5):
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
                self._ends.pop(each.partition, None)
                with suppress(KeyError):  # whoever has it now tells its lag
                    self._metrics.lag.remove(each.partition)
        gone = [entry for entry in self._later if entry[2].assignment.over.is_set()]
        self._in_flight -= len(gone)
        self._bytes_in_flight -= sum(entry[2].size for entry in gone)
        self._later = [entry for entry in self._later if not entry[2].assignment.over.is_set()]
        heapq.heapify(self._later)
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
        self._ask_begins()
        for number, partition in self._partitions.items():
            # As the broker told with its last answer: no request is made for it.
            ours = self._partition(number)
            low, high = self._consumer.get_watermark_offsets(ours, cached=True)
            position = self._consumer.position([ours])[0].offset
            if position < 0 and partition.begins is not None:  # nothing of it has come yet
                position = max(low, partition.begins)
            behind = high - position if position >= 0 and high >= 0 else 0
            self._metrics.lag.labels(number).set(max(0, behind) + partition.unfinished)

    def _ask_begins(self) -> None:
        """Where the group was when we took our partitions over: one request for the new ones."""
        new = [number for number, each in self._partitions.items() if each.begins is None]
        if not new:
            return
        with suppress(KafkaException):
            asked = [self._partition(number) for number in new]
            for told in self._consumer.committed(asked, _COMMIT_SECONDS):
                self._partitions[told.partition].begins = max(0, told.offset)

    def _partition(self, number: int) -> TopicPartition:
        return TopicPartition(self._settings.kafka.topic, number)

    def _done(self) -> bool:
        """Whether the last message was sent and all of ours are finished.

        Where the group has given us none, whether it has finished all: it may never give us any.
        """
        if self._last_sent is None or not self._last_sent.is_set() or self._in_flight:
            return False
        if self._partitions.keys() - self._ends.keys():
            return False
        try:
            if not self._partitions:
                return self._group_is_done()
            # Asked of the broker: what was its end a moment ago need not be so now.
            return all(self._span(number)[1] == self._ends[number] for number in self._partitions)
        except KafkaException:
            return False

    def _group_is_done(self) -> bool:
        if time.monotonic() - self._asked_at < _COMMIT_SECONDS:
            return False
        self._asked_at = time.monotonic()
        topic = self._settings.kafka.topic
        numbers = self._consumer.list_topics(topic, _ASK_SECONDS).topics[topic].partitions
        asked = [self._partition(number) for number in numbers]
        for each in self._consumer.committed(asked, _ASK_SECONDS):
            first, end = self._span(each.partition)
            if max(first, each.offset) < end:
                return False
        return bool(asked)

    def _span(self, number: int) -> tuple[int, int]:
        """The first offset of a partition and its end."""
        return self._consumer.get_watermark_offsets(self._partition(number), _ASK_SECONDS)


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

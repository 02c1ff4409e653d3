"""The consumer: one thread polls Kafka, a pool of threads fetches and stores the images.

Offsets are committed per partition up to the first message that is not finished. So after any
crash the unfinished messages are received again, and an image that was already stored is
overwritten with itself. While the pool is full or storage fails, partitions are paused and polling
continues, so that the group keeps this consumer.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from threading import Event, Thread

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingestion.consumer.end_detection import EndDetector
from ingestion.consumer.handling import Handler
from ingestion.consumer.lag import LagMeter
from ingestion.consumer.messages import Header, ReceivedMessage, received
from ingestion.consumer.outcomes import Finished, Outcome, RetryLater
from ingestion.consumer.partitions import AssignedPartitions
from ingestion.consumer.workers import Workers
from ingestion.topics import FOR_GROUP, ClientConf, client_conf
from superres.pipeline.config import Kafka

_log = structlog.get_logger()
_COMMIT_SECONDS = 1.0
_POLL_SECONDS = 0.1
# Messages waiting for a thread. A pause discards prefetched messages; after it the first message
# takes a fifth of a second, for which half of these must keep the threads busy.
_MAX_WAITING = 1024
_MAX_BYTES = 32 << 20  # of messages in flight: most have half a kilobyte, some may have a megabyte
_LEAVE_SECONDS = 4.0
_AUTH_LOG_SECONDS = 60.0  # between two log lines that the broker refuses to authenticate us


def _consumer_conf(kafka: Kafka) -> ClientConf:
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
        # References are small, and a pause discards what was prefetched.
        "queued.max.messages.kbytes": 256,
    }


class ImageConsumer:
    """Polls references from the topic until stopped.

    Args:
        handler: handles the messages.
        stop: ends the consumer once it is set.
        last_sent: if given, the consumer also ends once this is set, every partition is read to its
            end and every message is finished.
        on_progress: called in the polling thread with the number of messages finished so far.
        own_only: skip messages that name no consumer group; those that name another group are
            always skipped.
    """

    def __init__(
        self,
        handler: Handler,
        stop: Event,
        *,
        last_sent: Event | None = None,
        on_progress: Callable[[int], None] = lambda _: None,
        own_only: bool = False,
    ) -> None:
        self._handler = handler
        self._settings = handler.settings
        self._stop = stop
        self._on_progress = on_progress
        self._own_only = own_only
        topic = self._topic = self._settings.kafka.topic
        callbacks = {"on_commit": self._on_commit, "error_cb": self._on_error}
        self._client = Consumer(_consumer_conf(self._settings.kafka) | callbacks)
        self._partitions = AssignedPartitions()
        self._workers = Workers(handler.handle, self._settings.ingestion.threads)
        self._lag = LagMeter(self._client, topic, self._partitions, handler.metrics.lag)
        self._end = EndDetector(self._client, topic, self._partitions, last_sent)
        self._paused = False
        self._finished = 0
        self._stopped_at: float | None = None
        self._committed_at = time.monotonic()
        self._auth_logged_at = -_AUTH_LOG_SECONDS
        self.polled_at = time.monotonic()

    @property
    def storage_failing(self) -> str:
        """Why storage fails, as long as a message in flight is waiting for it; else empty."""
        # With nothing in flight, no thread would notice that it works again: the next message will.
        in_flight = self._partitions.messages_in_flight
        return self._handler.storage_health.failing if in_flight else ""

    @property
    def assigned(self) -> bool:
        """Whether the group has assigned partitions to this consumer."""
        return bool(self._partitions)

    def run(self) -> int:
        """Consumes, drains and commits; returns how many messages were finished."""
        with self._workers:
            self._client.subscribe(
                [self._topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            try:
                while not (self._stop.is_set() or self._end.reached()):
                    self._run_once()
                self._stopped_at = self._stopped_at or time.monotonic()
                problem = self._handler.dead_letters.ready()
                in_flight = self._partitions.messages_in_flight
                _log.info("stopping", in_flight=in_flight, broker=problem or "ok")
                if not problem:  # without a broker, what finishes now could not be committed
                    self._drain(list(self._partitions))
            finally:
                # Threads that still wait for storage or a broker give up now.
                self._handler.stop.set()
                self._leave()
        return self._finished

    def _leave(self) -> None:
        """Commits and leaves the group; gives up soon if the broker does not answer."""

        def leave() -> None:
            self._commit(list(self._partitions), wait=True)
            self._partitions.clear()
            self._client.close()

        leaving = Thread(target=leave, name="leave", daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS)
        if leaving.is_alive():
            reason = "Kafka does not answer; uncommitted messages will be received again"
            _log.warning("not_committed", reason=reason)

    def _run_once(self) -> None:
        self.polled_at = time.monotonic()
        self._pause_or_resume()
        message = self._client.poll(_POLL_SECONDS)
        while message is not None:
            self._receive(message)
            # Takes more of what is already prefetched, as long as there is room.
            message = self._client.poll(0) if self._has_room() else None
        self._collect_outcomes()
        self._workers.submit_due()
        if time.monotonic() - self._committed_at > _COMMIT_SECONDS:
            self._commit(list(self._partitions))
        self._handler.metrics.in_flight.set(self._partitions.messages_in_flight)

    # ---- messages and outcomes

    def _receive(self, polled: Message) -> None:
        error = polled.error()
        if error is not None:
            self._receive_error(polled, error)
            return
        number = polled.partition()
        partition = None if number is None else self._partitions.get(number)
        if partition is None:
            return  # it was revoked after the message had been prefetched
        message = received(polled, partition.assignment)
        partition.end = None
        partition.offsets.begin(message.offset)
        if not self._is_ours(message.headers):
            partition.offsets.finish(message.offset)
            return
        self._partitions.begin(message)
        self._handler.metrics.messages.inc()
        self._workers.submit(message)

    def _is_ours(self, headers: tuple[Header, ...]) -> bool:
        groups = [value for name, value in headers if name == FOR_GROUP]
        return self._settings.kafka.group.encode() in groups if groups else not self._own_only

    def _receive_error(self, polled: Message, error: KafkaError) -> None:
        number = polled.partition()
        if error.code() == KafkaError._PARTITION_EOF and number is not None:
            if number in self._partitions:
                self._partitions[number].end = polled.offset()
        elif error.fatal():
            raise KafkaException(error)
        else:
            _log.warning("kafka", reason=error.str())

    def _on_error(self, error: KafkaError) -> None:
        # librdkafka reconnects by itself; a refused authentication is for the operator to fix.
        if error.code() != KafkaError._AUTHENTICATION:
            return
        now = time.monotonic()
        if now - self._auth_logged_at > _AUTH_LOG_SECONDS:
            self._auth_logged_at = now
            _log.warning("kafka", reason=error.str())

    def _collect_outcomes(self, wait: float = 0.0) -> None:
        """Processes the outcomes there are; waits at most so long for the first."""
        for message, outcome in self._workers.outcomes(wait):
            self._settle(message, outcome)

    def _settle(self, message: ReceivedMessage, outcome: Outcome) -> None:
        if isinstance(outcome, RetryLater) and not message.assignment.ending.is_set():
            again = replace(message, attempt=message.attempt + 1)
            self._workers.submit_later(again, outcome.seconds)
        elif self._partitions.end(message, finished=isinstance(outcome, Finished)):
            self._finished += 1
            self._on_progress(self._finished)

    # ---- pausing

    def _has_room(self, share: float = 1.0) -> bool:
        """Whether less is in flight than this share of the maximum, and storage works."""
        limit = (self._settings.ingestion.threads + _MAX_WAITING) * share
        small = self._partitions.bytes_in_flight < _MAX_BYTES * share
        return self._partitions.messages_in_flight < limit and small and not self.storage_failing

    def _pause_or_resume(self) -> None:
        if not self._paused and not self._has_room():
            self._set_paused(True)
        elif self._paused and self._has_room(0.5):
            self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        assigned = [TopicPartition(self._topic, number) for number in self._partitions]
        (self._client.pause if paused else self._client.resume)(assigned)
        self._paused = paused
        self._handler.metrics.paused.set(paused)

    # ---- rebalances and commits

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._partitions.assign(each.partition)
        self._client.incremental_assign(partitions)
        # Always set: librdkafka remembers a pause across a revocation and a new assignment.
        (self._client.pause if self._paused else self._client.resume)(partitions)
        _log.info("assigned", partitions=sorted(self._partitions))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions if each.partition in self._partitions]
        self._drain(numbers)
        self._commit(numbers, wait=True)
        self._forget(partitions)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # The group has already assigned them to another member, so there is nothing to commit.
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            if self._partitions.remove(each.partition):
                self._lag.forget(each.partition)
        self._partitions.drop(self._workers.drop_revoked())
        self._client.incremental_unassign(partitions)
        _log.info("revoked", partitions=[each.partition for each in partitions])

    def _drain(self, numbers: Collection[int]) -> None:
        """Lets the threads finish what they have begun of these partitions, until the deadline."""
        for number in numbers:
            self._partitions[number].assignment.ending.set()
        began = time.monotonic()
        while (left := self._drain_ends(began) - time.monotonic()) > 0:
            self._collect_outcomes()
            # Retries are not waited for: the next consumer of the partition receives them again.
            if self._partitions.unfinished(numbers) <= self._workers.waiting(numbers):
                return
            self._collect_outcomes(wait=min(left, _POLL_SECONDS))

    def _drain_ends(self, began: float) -> float:
        """A stop has one deadline, whether or not partitions were being revoked when it came."""
        if self._stop.is_set() and self._stopped_at is None:
            self._stopped_at = time.monotonic()
        since = began if self._stopped_at is None else min(began, self._stopped_at)
        return since + self._settings.ingestion.drain_seconds

    def _commit(self, numbers: Collection[int], *, wait: bool = False) -> None:
        self._committed_at = time.monotonic()
        to_commit = self._partitions.to_commit(numbers)
        self._lag.measure()
        if not to_commit:
            return
        offsets = [TopicPartition(self._topic, *each) for each in to_commit.items()]
        try:
            if wait:
                self._client.commit(offsets=offsets, asynchronous=False)
            else:
                self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # Nothing is lost: uncommitted messages are received again.
            _log.warning("commit_failed", reason=error.args[0].str())
            return
        for number, offset in to_commit.items():
            self._partitions[number].offsets.committed(offset)

    def _on_commit(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        for each in offsets:
            failure = error or each.error
            if failure is not None and each.partition in self._partitions:
                _log.warning("commit_failed", reason=failure.str(), partition=each.partition)
                self._partitions[each.partition].offsets.committed(None)

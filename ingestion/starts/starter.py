"""Starts an execution of the state machine for new images: one at a time, at most one a minute."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event
from time import monotonic

import structlog

from ingestion.starts.executions import Executions, Situation, Started
from ingestion.starts.prometheus_metrics import Metrics
from ingestion.starts.queue import ImageQueue, NewImages
from superres.errors import TransferError

# A receive cannot be interrupted, so this is also how long a stop takes.
_RECEIVE_SECONDS = 5
# Images that arrive together shall get one run.
_QUIET_SECONDS = 2
_MAX_GATHER_SECONDS = 10.0
_MOST_HELD = 100
_LOOK_SECONDS = 5.0
_APART = timedelta(minutes=1)
_MAX_RETRY_SECONDS = 30.0

_log = structlog.get_logger()


class Starter:
    """Holds messages about new images until an execution that processes them has started.

    Nothing is lost if it dies: SQS shows the messages it held to others a minute later. While an
    execution runs it holds what it has and receives no more, since each receive counts towards
    the dead-letter queue.

    Args:
        queue: the messages.
        executions: of the state machine.
        metrics: what it counts.
        stop: ends it.
        now: the time in UTC.

    Attributes:
        failing: why it can start nothing at the moment; empty when all is well.
        turned_at: when its loop last turned, by the monotonic clock.
    """

    def __init__(
        self,
        queue: ImageQueue,
        executions: Executions,
        metrics: Metrics,
        stop: Event,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._queue = queue
        self._executions = executions
        self._metrics = metrics
        self._stop = stop
        self._now = now
        self._held: list[NewImages] = []
        self._retry_seconds = 0.0
        self.failing = ""
        self.turned_at = monotonic()

    def run(self) -> None:
        """Works until it is stopped, then lets others have the messages that it holds."""
        while not self._stop.is_set():
            self.turned_at = monotonic()
            try:
                self.turn()
            except TransferError as error:
                self._fail(error)
            else:
                self._recover()
            self._metrics.held.set(len(self._held))
        try:
            self._queue.give_back(self._held)
        except TransferError as error:
            _log.warning("not_given_back", messages=len(self._held), reason=str(error))

    def turn(self) -> None:
        """Receives messages, or holds those it has, and starts an execution when it may.

        Raises ``TransferError`` when SQS or Step Functions does not answer.
        """
        if not self._held:
            self._gather()
        if not self._held:
            return
        try:
            self._start_or_wait()
        finally:
            if self._held:
                self._held = self._queue.keep(self._held)

    def _gather(self) -> None:
        """Receives messages until none comes for some seconds."""
        until, wait = 0.0, _RECEIVE_SECONDS
        while not self._stop.is_set():
            received, any_came = self._queue.receive(wait)
            self._held += received
            self._metrics.messages.inc(len(received))
            until = until or monotonic() + _MAX_GATHER_SECONDS
            if not any_came or len(self._held) >= _MOST_HELD or monotonic() > until:
                return
            wait = _QUIET_SECONDS

    def _start_or_wait(self) -> None:
        situation = self._executions.look()
        if situation.latest is not None:
            self._delete_covered(situation.latest)
        if not self._held:
            return
        started = self._start(situation) if self._may_start(situation) else None
        if started is None:
            self._stop.wait(_LOOK_SECONDS)
        else:
            self._delete_covered(started)

    def _may_start(self, situation: Situation) -> bool:
        if situation.running:
            return False
        return situation.latest is None or self._now() >= situation.latest.started_at + _APART

    def _start(self, situation: Situation) -> Started | None:
        number = situation.next_number
        run_ids = frozenset().union(*(message.run_ids for message in self._held))
        started = self._executions.start(number, run_ids)
        if started is not None:
            self._metrics.started.inc()
            _log.info("started", execution=number, run_ids=sorted(run_ids))
        return started

    def _delete_covered(self, started: Started) -> None:
        """Deletes the messages whose images were stored before an execution of their run began."""
        covered = [
            message
            for message in self._held
            if message.run_ids <= started.run_ids and message.sent_at <= started.started_at
        ]
        if covered:
            self._queue.delete(covered)
            self._held = [message for message in self._held if message not in covered]

    def _fail(self, error: TransferError) -> None:
        self._metrics.failures.inc()
        if not self.failing:
            _log.error("outage_began", reason=str(error))
        self.failing = str(error)
        self._retry_seconds = min(max(1.0, 2 * self._retry_seconds), _MAX_RETRY_SECONDS)
        self._stop.wait(self._retry_seconds)

    def _recover(self) -> None:
        if self.failing:
            _log.info("outage_ended")
        self.failing, self._retry_seconds = "", 0.0

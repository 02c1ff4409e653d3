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
from superres.service.outage import Outage

# A receive cannot be interrupted, so this is also how long a stop takes.
_RECEIVE_SECONDS = 5
# Images that arrive together shall get one run.
_QUIET_SECONDS = 2
_MAX_GATHER_SECONDS = 10.0
_MOST_GATHERED = 100
_MOST_HELD = 500
_LOOK_SECONDS = 5.0
_APART = timedelta(minutes=1)
# A configuration that makes every execution fail shall not pay for a cluster every minute.
_LONGEST_PAUSE = timedelta(minutes=30)
_FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS = 1.0, 30.0

_log = structlog.get_logger()


class Starter:
    """Holds messages about new images until an execution that processes them has succeeded.

    Nothing is lost if it dies: SQS shows the messages it held to others a minute later. While an
    execution runs it holds what it has and receives no more, since each receive counts towards
    the dead-letter queue. After a failed execution it starts the next for the same messages, after
    a pause that doubles with each failure.

    Args:
        queue: the messages.
        executions: of the state machine.
        metrics: what it counts.
        stop: ends it.
        now: the time in UTC.

    Attributes:
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
        self._gather_again = False
        self._reported = 0
        self._outage = Outage("starting runs", _FIRST_RETRY_SECONDS, _MAX_RETRY_SECONDS)
        self.turned_at = monotonic()

    @property
    def failing(self) -> str:
        """Why it can start nothing at the moment; empty when all is well."""
        return self._outage.failing

    def run(self) -> None:
        """Works until it is stopped, then lets others have the messages that it holds."""
        while not self._stop.is_set():
            self.turned_at = monotonic()
            try:
                self.turn()
            except TransferError as error:
                self._metrics.failures.inc()
                self._stop.wait(self._outage.failure(error))
            else:
                self._outage.end()
            self._metrics.held.set(len(self._held))
        try:
            self._queue.release(self._held)
        except TransferError as error:
            _log.warning("not_released", messages=len(self._held), reason=str(error))

    def turn(self) -> None:
        """Receives messages, or holds those it has, and starts an execution when it may.

        Raises ``TransferError`` when SQS or Step Functions does not answer.
        """
        fresh = self._gather_again or not self._held
        self._gather_again = False
        try:
            if fresh:
                self._gather()
            if self._held:
                self._start_or_wait(fresh)
        finally:
            if self._held:
                self._held = self._queue.keep(self._held)

    def _gather(self) -> None:
        """Receives messages until none comes for some seconds."""
        until, wait = 0.0, _QUIET_SECONDS if self._held else _RECEIVE_SECONDS
        most = len(self._held) + _MOST_GATHERED
        while not self._stop.is_set():
            received, any_came = self._queue.receive(wait)
            self._held += received
            self._metrics.messages.inc(len(received))
            until = until or monotonic() + _MAX_GATHER_SECONDS
            if not any_came or len(self._held) >= most or monotonic() > until:
                return
            wait = _QUIET_SECONDS

    def _start_or_wait(self, fresh: bool) -> None:
        situation = self._executions.look()
        self._report_failure(situation)
        self._delete_processed(situation)
        if not self._held:
            return
        if not self._may_start(situation):
            self._stop.wait(_LOOK_SECONDS)
        elif not fresh and len(self._held) < _MOST_HELD:
            self._gather_again = True  # what came while it waited goes along
        elif self._start(situation) is None:
            self._stop.wait(_LOOK_SECONDS)

    def _may_start(self, situation: Situation) -> bool:
        if situation.running:
            return False
        latest = situation.latest
        if latest is None:
            return True
        at = latest.started_at + _APART
        if latest.failed and latest.ended_at is not None:
            at = max(at, latest.ended_at + _pause(situation.failures))
        return self._now() >= at

    def _start(self, situation: Situation) -> Started | None:
        number = situation.next_number
        run_ids = frozenset().union(*(message.run_ids for message in self._held))
        started = self._executions.start(number, run_ids)
        if started is not None:
            self._metrics.started.inc()
            _log.info("started", execution=number, run_ids=sorted(run_ids))
        return started

    def _report_failure(self, situation: Situation) -> None:
        latest = situation.latest
        if latest is None or not latest.failed or latest.number <= self._reported:
            return
        self._reported = latest.number
        _log.warning(
            "execution_failed",
            execution=latest.number,
            status=latest.status,
            failures=situation.failures,
            next_one_after_seconds=_pause(situation.failures).total_seconds(),
        )

    def _delete_processed(self, situation: Situation) -> None:
        """Deletes the messages whose images an execution has processed."""
        processed: list[NewImages] = []
        left: list[NewImages] = []
        for message in self._held:
            done = any(
                each.has_processed(message.run_ids, message.sent_at) for each in situation.recent
            )
            (processed if done else left).append(message)
        if processed:
            self._queue.delete(processed)
            self._held = left


def _pause(failures: int) -> timedelta:
    """How long nothing starts after so many failures: a minute, two, four and so on."""
    pause: timedelta = _APART * 2 ** (failures - 1)
    return min(pause, _LONGEST_PAUSE)

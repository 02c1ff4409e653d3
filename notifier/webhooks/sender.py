"""Sends what is due: one thread keeps the books in the database, a few post.

Every delivery is leased before it is posted and settled after, so whatever dies, it is sent again
under the same message id, and none is lost. Outcomes that the database cannot take at the moment
are kept until it can.
"""

import atexit
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry

from notifier.store.database import Database
from notifier.store.deliveries import (
    Claimed,
    Settlement,
    claim,
    count_pending,
    fail_overdue,
    forget_old,
    release,
    settle,
    subscriptions_due,
)
from notifier.store.subscriptions import disable, note_failure, note_success
from notifier.webhooks.posting import Attempt, post, told_url
from notifier.webhooks.prometheus_metrics import new_metrics
from notifier.webhooks.schedule import next_attempt, reason_to_disable
from superres.errors import StorageError
from superres.pipeline.config import Notifier
from superres.service.public_http import Client

POSTS = 8
"""At once, over all subscriptions."""
_POSTS_EACH = 2  # so that a slow receiver does not hold the others
_POLL_SECONDS = 0.5
_HOUSEKEEPING_SECONDS = 15.0
_LEASE_SECONDS = 5.0  # beyond the longest attempt
_STOP_SECONDS = 2.0  # for what is being posted when the service ends
_AGAIN_SECONDS = 1.0
_log = structlog.get_logger()


class Sender:
    """Delivers until told to stop; any number of them may share a database.

    Args:
        database: where deliveries wait.
        settings: how long an attempt, a delivery and a subscription that fails may last.
        client: connects; made with the same ``stop``, so that posts end with the service.
        stop: ends ``run`` once it is set, within seconds.
        registry: takes what is counted.
    """

    def __init__(
        self,
        database: Database,
        settings: Notifier,
        client: Client,
        stop: Event,
        registry: CollectorRegistry,
    ) -> None:
        self._database = database
        self._settings = settings
        self._client = client
        self._stop = stop
        self._metrics = new_metrics(registry)
        self._lease = timedelta(seconds=settings.webhook_seconds + _LEASE_SECONDS)
        self._work: SimpleQueue[Claimed | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Claimed, Attempt] | None] = SimpleQueue()
        self._in_flight: set[Claimed] = set()  # until settled in the database
        self._unsettled: list[tuple[Claimed, Attempt]] = []
        self._housekept = float("-inf")
        self._reachable = True

    def wake(self) -> None:
        """Something may be due: looks for it at once."""
        self._results.put(None)

    def start(self) -> None:
        """Runs in a thread of its own, which the end of the process waits for once it may end."""
        thread = Thread(target=self.run, name="webhooks", daemon=True)
        thread.start()
        # Not for ever: a process that ends without ``stop`` leaves its leases to run out.
        atexit.register(thread.join, _STOP_SECONDS + 2 * _POLL_SECONDS)

    def run(self) -> None:
        """Sends until ``stop`` is set; what is then on its way has two seconds."""
        # Daemons: a receiver that says nothing must not hold the end of the process.
        posters = [Thread(target=self._post, name="webhook", daemon=True) for _ in range(POSTS)]
        for poster in posters:
            poster.start()
        while not self._stop.is_set():
            self._collect(_POLL_SECONDS)
            self._with_database(self._turn)
        end = monotonic() + _STOP_SECONDS
        while len(self._unsettled) < len(self._in_flight) and (left := end - monotonic()) > 0:
            self._collect(left)
        self._with_database(self._give_back)
        for _ in posters:
            self._work.put(None)

    def _turn(self) -> None:
        self._settle()
        if monotonic() - self._housekept > _HOUSEKEEPING_SECONDS:
            self._housekeep()
        self._claim()

    def _with_database(self, act: Callable[[], None]) -> None:
        try:
            act()
        except StorageError as error:
            if self._reachable:
                _log.warning("webhooks_wait", reason=str(error))
            self._reachable = False
            self._stop.wait(_AGAIN_SECONDS)
        except Exception:
            # A fault in one turn must not be the end of all webhooks.
            _log.exception("webhooks_failed")
            self._stop.wait(_AGAIN_SECONDS)
        else:
            self._reachable = True

    # ---- the threads that post

    def _post(self) -> None:
        while (claimed := self._work.get()) is not None:
            try:
                attempt = post(self._client, claimed, self._settings.webhook_seconds)
            except Exception:
                _log.exception("webhook_failed", message_id=claimed.message_id)
                attempt = Attempt(None, "an error of the sender; its log says more", None, 0.0)
            self._results.put((claimed, attempt))

    # ---- the thread that keeps the books

    def _collect(self, seconds: float) -> None:
        """Takes what has been posted; waits for the first at most so long."""
        try:
            result = self._results.get(timeout=seconds)
            while True:
                if result is not None:
                    self._unsettled.append(result)
                result = self._results.get_nowait()
        except Empty:
            return

    def _claim(self) -> None:
        room = POSTS - len(self._in_flight)
        if not room:
            return
        now = datetime.now(UTC)
        busy = Counter(each.subscription_id for each in self._in_flight)
        with self._database.reading() as session:
            due = [name for name in subscriptions_due(session, now) if busy[name] < _POSTS_EACH]
        if not due:
            return
        random.shuffle(due)  # where there are more than room, none comes last each time
        claimed: list[Claimed] = []
        with self._database.writing() as session:
            for name in due:
                count = min(_POSTS_EACH - busy[name], room - len(claimed))
                if count:
                    claimed += claim(session, name, now, count, self._lease)
        for each in claimed:
            self._in_flight.add(each)
            self._work.put(each)

    def _settle(self) -> None:
        while self._unsettled:
            claimed, attempt = self._unsettled[0]
            if self._stop.is_set() and attempt.status is None:
                # Cut off by us: that is no failure of the receiver.
                self._release(claimed)
            else:
                self._settle_one(claimed, attempt)
            self._unsettled.pop(0)
            self._in_flight.discard(claimed)

    def _settle_one(self, claimed: Claimed, attempt: Attempt) -> None:
        now = datetime.now(UTC)
        name, reason = claimed.subscription_id, None
        again = self._again_at(claimed, attempt, now) if attempt.error is not None else None
        # A transaction for each, and the subscription before the delivery, as a deletion locks
        # them: so nobody waits for another in a circle.
        with self._database.writing() as session:
            if attempt.error is None:
                note_success(session, name)
            else:
                since = note_failure(session, name, now)
                days = self._settings.webhook_disable_days
                reason = reason_to_disable(attempt.status, since, now, days)
                if reason:
                    disable(session, name, reason, now)
            settle(session, claimed, Settlement(attempt.status, attempt.error, again), now)
        self._tell(claimed, attempt, again)
        if reason:
            self._metrics.disabled.inc()
            _log.warning("subscription_disabled", subscription_id=name, reason=reason)

    def _again_at(self, claimed: Claimed, attempt: Attempt, now: datetime) -> datetime | None:
        return next_attempt(
            claimed.attempts + 1,
            attempt.retry_after,
            claimed.give_up_at,
            now,
            self._settings.webhook_retry_seconds,
            random.random(),
        )

    def _tell(self, claimed: Claimed, attempt: Attempt, again: datetime | None) -> None:
        outcome = "delivered" if attempt.error is None else "retried" if again else "failed"
        self._metrics.attempts.labels(outcome).inc()
        self._metrics.seconds.observe(attempt.seconds)
        tell = _log.info if attempt.error is None else _log.warning
        tell(
            f"webhook_{outcome}",
            subscription_id=claimed.subscription_id,
            message_id=claimed.message_id,
            type=claimed.type,
            url=told_url(claimed.url),
            attempt=claimed.attempts + 1,
            status=attempt.status,
            reason=attempt.error,
            again_at=again and again.isoformat(),
            seconds=round(attempt.seconds, 3),
        )

    def _release(self, claimed: Claimed) -> None:
        with self._database.writing() as session:
            release(session, claimed)
        self._metrics.attempts.labels("released").inc()

    def _give_back(self) -> None:
        self._settle()
        for claimed in self._in_flight:
            self._release(claimed)

    def _housekeep(self) -> None:
        with self._database.writing() as session:
            failed = fail_overdue(session, datetime.now(UTC))
            forget_old(session, datetime.now(UTC))
            pending = count_pending(session)
        self._housekept = monotonic()
        self._metrics.pending.set(pending)
        if failed:
            self._metrics.attempts.labels("failed").inc(failed)
            _log.warning("webhooks_of_disabled_subscriptions_failed", count=failed)

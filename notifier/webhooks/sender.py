"""Sends due deliveries: one thread works with the database, a few others post.

Every delivery is leased before it is posted and settled after, so whichever process dies, it is
sent again under the same message id, and none is lost. While the database does not answer, outcomes
are kept in memory.
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
    delete_old,
    fail_overdue,
    release,
    settle,
    subscriptions_due,
)
from notifier.store.subscriptions import disable, note_failure, note_success
from notifier.webhooks.posting import Attempt, loggable_url, post
from notifier.webhooks.prometheus_metrics import new_metrics
from notifier.webhooks.schedule import next_attempt, reason_to_disable
from superres.errors import StorageError
from superres.pipeline.config import Notifier
from superres.service.public_http import Client

POSTS = 8
"""Concurrent posts, over all subscriptions."""
_POSTS_EACH = 2  # so that a slow receiver does not block the others
_POLL_SECONDS = 0.5
_HOUSEKEEPING_SECONDS = 15.0
_LEASE_SECONDS = 5.0  # beyond the timeout of an attempt
_STOP_SECONDS = 2.0  # for posts in progress when the service stops
_RETRY_SECONDS = 1.0
_log = structlog.get_logger()


class Sender:
    """Sends deliveries until stopped; any number of senders may share a database.

    Args:
        database: holds the deliveries.
        settings: timeouts and limits of attempts, deliveries and failing subscriptions.
        client: makes the requests; with the same ``stop``, so that posts end with the service.
        stop: ends ``run`` within seconds once it is set.
        registry: holds the metrics.
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
        self._results: SimpleQueue[tuple[Claimed, Attempt]] = SimpleQueue()
        self._in_flight: set[Claimed] = set()  # until settled in the database
        self._unsettled: list[tuple[Claimed, Attempt]] = []
        self._housekept = float("-inf")
        self._reachable = True

    def start(self) -> None:
        """Runs in a thread of its own; the process waits for it when it exits."""
        thread = Thread(target=self.run, name="webhooks", daemon=True)
        thread.start()
        # Not for ever: when a process ends without ``stop``, its leases expire.
        atexit.register(thread.join, _STOP_SECONDS + 2 * _POLL_SECONDS)

    def run(self) -> None:
        """Sends until ``stop`` is set; posts in progress then have two seconds to finish."""
        # Daemons: a receiver that does not respond must not keep the process alive.
        posters = [Thread(target=self._post, name="webhook", daemon=True) for _ in range(POSTS)]
        for poster in posters:
            poster.start()
        while not self._stop.is_set():
            self._collect(_POLL_SECONDS)
            self._with_database(self._work_once)
        end = monotonic() + _STOP_SECONDS
        while len(self._unsettled) < len(self._in_flight) and (left := end - monotonic()) > 0:
            self._collect(left)
        self._with_database(self._release_all)
        for _ in posters:
            self._work.put(None)

    def _work_once(self) -> None:
        self._settle()
        if monotonic() - self._housekept > _HOUSEKEEPING_SECONDS:
            self._housekeep()
        self._claim()

    def _with_database(self, action: Callable[[], None]) -> None:
        try:
            action()
        except StorageError as error:
            if self._reachable:
                _log.warning("database_unavailable", reason=str(error))
            self._reachable = False
            self._stop.wait(_RETRY_SECONDS)
        except Exception:
            # One unexpected error must not stop all webhooks.
            _log.exception("unexpected_error")
            self._stop.wait(_RETRY_SECONDS)
        else:
            self._reachable = True

    # ---- the threads that post

    def _post(self) -> None:
        while (claimed := self._work.get()) is not None:
            try:
                attempt = post(self._client, claimed, self._settings.webhook_seconds)
            except Exception:
                _log.exception("unexpected_error", message_id=claimed.message_id)
                attempt = Attempt(None, "unexpected error; see the log of the notifier", None, 0.0)
            self._results.put((claimed, attempt))

    # ---- the thread that works with the database

    def _collect(self, seconds: float) -> None:
        """Collects the outcomes of posts; waits up to some seconds for the first."""
        try:
            result = self._results.get(timeout=seconds)
            while True:
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
        random.shuffle(due)  # so that no subscription is last every time
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
                # Cut off by this sender: not a failure of the receiver.
                self._release(claimed)
            else:
                self._settle_one(claimed, attempt)
            self._unsettled.pop(0)
            self._in_flight.discard(claimed)

    def _settle_one(self, claimed: Claimed, attempt: Attempt) -> None:
        now = datetime.now(UTC)
        name, reason = claimed.subscription_id, None
        retry_at = self._retry_at(claimed, attempt, now) if attempt.error is not None else None
        # One transaction each, and the subscription before the delivery, the order in which a
        # deletion locks them: this prevents deadlocks.
        with self._database.writing() as session:
            if attempt.error is None:
                note_success(session, name)
            else:
                since = note_failure(session, name, now)
                days = self._settings.webhook_disable_days
                reason = reason_to_disable(attempt.status, since, now, days)
                if reason:
                    disable(session, name, reason, now)
            settle(session, claimed, Settlement(attempt.status, attempt.error, retry_at), now)
        self._report(claimed, attempt, retry_at)
        if reason:
            self._metrics.disabled.inc()
            _log.warning("subscription_disabled", subscription_id=name, reason=reason)

    def _retry_at(self, claimed: Claimed, attempt: Attempt, now: datetime) -> datetime | None:
        return next_attempt(
            claimed.attempts + 1,
            attempt.retry_after,
            claimed.give_up_at,
            now,
            self._settings.webhook_retry_seconds,
            random.random(),
        )

    def _report(self, claimed: Claimed, attempt: Attempt, retry_at: datetime | None) -> None:
        outcome = "delivered" if attempt.error is None else "retried" if retry_at else "failed"
        self._metrics.attempts.labels(outcome).inc()
        self._metrics.seconds.observe(attempt.seconds)
        log = _log.info if attempt.error is None else _log.warning
        log(
            f"webhook_{outcome}",
            subscription_id=claimed.subscription_id,
            message_id=claimed.message_id,
            type=claimed.type,
            url=loggable_url(claimed.url),
            attempt=claimed.attempts + 1,
            status=attempt.status,
            reason=attempt.error,
            again_at=retry_at and retry_at.isoformat(),
            seconds=round(attempt.seconds, 3),
        )

    def _release(self, claimed: Claimed) -> None:
        with self._database.writing() as session:
            release(session, claimed)
        self._metrics.attempts.labels("released").inc()

    def _release_all(self) -> None:
        self._settle()
        for claimed in self._in_flight:
            self._release(claimed)

    def _housekeep(self) -> None:
        with self._database.writing() as session:
            failed = fail_overdue(session, datetime.now(UTC))
            delete_old(session, datetime.now(UTC))
            pending = count_pending(session)
        self._housekept = monotonic()
        self._metrics.pending.set(pending)
        if failed:
            self._metrics.attempts.labels("failed").inc(failed)
            _log.warning("webhooks_of_disabled_subscriptions_failed", count=failed)

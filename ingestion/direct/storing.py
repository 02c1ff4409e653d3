"""Handles references without a broker as the consumer does: in a bounded pool, with retries."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from threading import Event

import structlog
from prometheus_client import CollectorRegistry

from ingestion.consumer.fetching import fetcher_of
from ingestion.consumer.handling import Handler
from ingestion.consumer.messages import Assignment, Header, ReceivedMessage
from ingestion.consumer.outcomes import Finished, Outcome, RetryLater
from ingestion.consumer.prometheus_metrics import new_metrics
from ingestion.consumer.workers import Workers
from superres.pipeline.config import Settings
from superres.pipeline.records import RejectedImage
from superres.service.public_http import Client

_log = structlog.get_logger()
_POLL_SECONDS = 0.1
_WAITING_PER_THREAD = 2  # references that wait for each thread, so that none is idle


class NoDeadLetters:
    """In place of the dead-letter topic: without a broker, there is the record in storage alone."""

    def ready(self) -> str:
        """Nothing can be wrong."""
        return ""

    def send(
        self,
        key: bytes | None,
        value: bytes,
        headers: Sequence[Header],
        record: RejectedImage,
        origin: str,
    ) -> bool:
        """Has nothing to send to."""
        return True


@contextmanager
def handler_without_broker(
    settings: Settings, registry: CollectorRegistry | None = None
) -> Iterator[Handler]:
    """The consumer's handler, for this process alone; its metrics are added to ``registry``."""
    ingestion, abandon = settings.ingestion, Event()
    with closing(Client(ingestion.allowed_hosts, ingestion.threads, abandon)) as client:
        fetcher, metrics = fetcher_of(settings, client), new_metrics(registry)
        try:
            yield Handler(settings, fetcher, NoDeadLetters(), metrics, abandon)
        finally:
            abandon.set()


def store_all(
    handler: Handler,
    references: Iterator[bytes | None],
    stopping: Callable[[], bool],
    on_finished: Callable[[bytes], None] = lambda _: None,
) -> None:
    """Stores the image of each reference, or rejects it, until they end or ``stopping``.

    ``references`` yields them as JSON, and None while there is nothing new. ``on_finished`` is
    called in this thread with each one that is stored or rejected; it is not called for those that
    the end interrupts.
    """
    threads = handler.settings.ingestion.threads
    with Workers(handler.handle, threads) as workers:
        storing = _Storing(handler, workers, on_finished)
        try:
            while not stopping():
                storing.begin(references, threads * (1 + _WAITING_PER_THREAD))
                if storing.ended:
                    return
                storing.collect(_POLL_SECONDS)
                workers.submit_due()
            storing.drain(handler.settings.ingestion.drain_seconds)
        finally:
            # Threads that still wait for storage give up now.
            handler.stop.set()


class _Storing:
    """The references in flight; all methods are for the thread that reads the references."""

    def __init__(
        self, handler: Handler, workers: Workers, on_finished: Callable[[bytes], None]
    ) -> None:
        self._metrics = handler.metrics
        self._workers = workers
        self._on_finished = on_finished
        self._assignment = Assignment()
        self._numbers = count()
        self._in_flight = 0
        self._exhausted = False

    @property
    def ended(self) -> bool:
        """Whether every reference there was is finished."""
        return self._exhausted and not self._in_flight

    def begin(self, references: Iterator[bytes | None], limit: int) -> None:
        """Begins what there is, until so many are in flight."""
        while not self._exhausted and self._in_flight < limit:
            try:
                value = next(references)
            except StopIteration:
                self._exhausted = True
                return
            if value is None:
                return
            number = next(self._numbers)
            self._metrics.messages.inc()
            self._in_flight += 1
            self._workers.submit(
                ReceivedMessage(self._assignment, 0, number, None, value, datetime.now(UTC))
            )

    def collect(self, wait: float) -> None:
        """Processes the outcomes there are; waits at most so long for the first."""
        for message, outcome in self._workers.outcomes(wait):
            self._settle(message, outcome)
        self._metrics.in_flight.set(self._in_flight)

    def drain(self, seconds: float) -> None:
        """Lets the threads finish what they have begun; nothing new begins."""
        self._assignment.ending.set()
        deadline = time.monotonic() + seconds
        while self._in_flight > self._workers.waiting({0}) and time.monotonic() < deadline:
            self.collect(_POLL_SECONDS)
        self._assignment.over.set()
        _log.info("stopped", unfinished=self._in_flight)

    def _settle(self, message: ReceivedMessage, outcome: Outcome) -> None:
        if isinstance(outcome, RetryLater) and not self._assignment.ending.is_set():
            again = replace(message, attempt=message.attempt + 1)
            self._workers.submit_later(again, outcome.seconds)
            return
        self._in_flight -= 1
        if isinstance(outcome, Finished):
            self._on_finished(message.value)

"""The threads that handle messages, and the messages that wait to be retried."""

import heapq
import time
from collections.abc import Callable, Collection, Iterator
from itertools import count
from queue import Empty, SimpleQueue
from typing import Self

import structlog

from ingestion.consumer.messages import ReceivedMessage
from ingestion.consumer.outcomes import Outcome
from superres.service.pool import Pool

_END_SECONDS = 2.0  # for threads to give up
_log = structlog.get_logger()


class Workers:
    """Handles messages in a pool of threads; all methods are for the polling thread.

    Args:
        handle: called in the threads; must not raise.
        threads: how many.
    """

    def __init__(self, handle: Callable[[ReceivedMessage], Outcome], threads: int) -> None:
        self._handle = handle
        self._pool = Pool(threads, "fetch")
        self._outcomes: SimpleQueue[tuple[ReceivedMessage, Outcome]] = SimpleQueue()
        self._retries: list[tuple[float, int, ReceivedMessage]] = []  # heap by due time
        self._order = count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if left := self._pool.close(_END_SECONDS):
            reason = "they could not be interrupted; their images will be handled again"
            _log.warning("left_behind", messages=left, reason=reason)

    def submit(self, message: ReceivedMessage) -> None:
        """Handles a message as soon as a thread is free."""

        def work() -> None:
            self._outcomes.put((message, self._handle(message)))

        self._pool.submit(work)

    def submit_later(self, message: ReceivedMessage, seconds: float) -> None:
        """Keeps a message until ``submit_due`` finds that so many seconds have passed."""
        heapq.heappush(self._retries, (time.monotonic() + seconds, next(self._order), message))

    def submit_due(self) -> None:
        """Submits the messages whose wait is over."""
        while self._retries and self._retries[0][0] <= time.monotonic():
            self.submit(heapq.heappop(self._retries)[2])

    def outcomes(self, wait: float = 0.0) -> Iterator[tuple[ReceivedMessage, Outcome]]:
        """The outcomes there are; waits at most so long for the first."""
        block = wait > 0
        while True:
            try:
                yield self._outcomes.get(block, wait or None)
            except Empty:
                return
            block = False

    def waiting(self, partitions: Collection[int]) -> int:
        """How many messages of these partitions wait to be retried."""
        return sum(1 for _, _, message in self._retries if message.partition in partitions)

    def drop_revoked(self) -> list[ReceivedMessage]:
        """Drops and returns the waiting messages whose partitions were revoked."""
        dropped = [entry[2] for entry in self._retries if entry[2].assignment.over.is_set()]
        kept = [entry for entry in self._retries if not entry[2].assignment.over.is_set()]
        self._retries = kept
        heapq.heapify(self._retries)
        return dropped

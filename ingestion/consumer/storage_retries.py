"""Repeats what needs storage until storage works: an image is never rejected because it does not.

Threads wait here, so nothing else begins; while one waits, the consumer pauses its partitions.
"""

from collections.abc import Callable
from itertools import count
from threading import Event
from typing import TypeVar

import structlog

from ingestion.consumer.messages import ReceivedMessage
from ingestion.retries import backoff_seconds
from superres.errors import StorageError

_log = structlog.get_logger()
_MAX_SECONDS = 5.0  # between two attempts
Result = TypeVar("Result")


class AbandonedError(Exception):
    """The message's partition was revoked, or the consumer stops, before storage worked."""


class StorageHealth:
    """Whether storage works.

    Attributes:
        failing: why it fails; empty while it works.
    """

    def __init__(self) -> None:
        self.failing = ""

    def failed(self, reason: str) -> None:
        """Records that storage failed."""
        self.failing = reason

    def worked(self) -> None:
        """Records that storage worked."""
        self.failing = ""


def until_storage_works(
    action: Callable[[], Result], message: ReceivedMessage, health: StorageHealth, stop: Event
) -> Result:
    """What an action returns, which is repeated with pauses while it raises for storage.

    Args:
        action: raises ``StorageError``, or ``OSError`` where temporary files find no room. Any
            other exception ends the repetition.
        message: what it is done for.
        health: records whether storage works.
        stop: ends the pauses.

    Raises:
        AbandonedError: the message no longer counts.
    """
    for attempt in count(1):
        _check_wanted(message, stop)
        try:
            result = action()
        except (StorageError, OSError) as error:
            _check_wanted(message, stop)
            health.failed(str(error))
            _log.error("storage_failed", reason=str(error), attempt=attempt)
            stop.wait(min(_MAX_SECONDS, backoff_seconds(min(attempt + 1, 8))))
        else:
            health.worked()
            return result
    raise AssertionError("count ended")


def _check_wanted(message: ReceivedMessage, stop: Event) -> None:
    if message.assignment.over.is_set() or stop.is_set():
        raise AbandonedError

"""An outage of storage, the database or a queue: logged when it begins and when it ends."""

import structlog

from notifier.listening.reading import Reader

_FIRST_SECONDS = 0.5

_log = structlog.get_logger()


class Outage:
    """For the one thread that keeps trying.

    Args:
        what: does not answer; for the log.
        max_seconds: between two tries; the waits double up to it.
        reader: its metrics count the failures.
        general: whether nothing can be read meanwhile; then it is listed in ``reader.failing``.
    """

    def __init__(
        self, what: str, max_seconds: float, reader: Reader, *, general: bool = False
    ) -> None:
        self._what = what
        self._max_seconds = max_seconds
        self._reader = reader
        self._general = general
        self._wait = 0.0

    def failure(self, error: Exception) -> float:
        """Records a failed try; returns the seconds to wait before the next."""
        self._reader.metrics.failures.inc()
        if self._general:
            self._reader.failing[self._what] = str(error)
        if not self._wait:
            _log.error("outage_began", what=self._what, reason=str(error))
        self._wait = min(max(_FIRST_SECONDS, 2 * self._wait), self._max_seconds)
        return self._wait

    def end(self) -> None:
        """Records a successful try."""
        self._reader.failing.pop(self._what, None)
        if self._wait:
            _log.info("outage_ended", what=self._what)
        self._wait = 0.0

"""An outage of storage, the database or a queue, in the log, the metrics and the readiness."""

from notifier.listening.reading import Reader
from superres.service import outage

_FIRST_SECONDS = 0.5


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
        self._outage = outage.Outage(what, _FIRST_SECONDS, max_seconds)
        self._what = what
        self._reader = reader
        self._general = general

    def failure(self, error: Exception) -> float:
        """Records a failed try; returns the seconds to wait before the next."""
        self._reader.metrics.failures.inc()
        if self._general:
            self._reader.failing[self._what] = str(error)
        return self._outage.failure(error)

    def end(self) -> None:
        """Records a successful try."""
        self._reader.failing.pop(self._what, None)
        self._outage.end()

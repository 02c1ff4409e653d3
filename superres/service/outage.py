"""An outage of something that a service keeps trying: logged when it begins and when it ends."""

import structlog

_log = structlog.get_logger()


class Outage:
    """For the one thread that keeps trying.

    Args:
        what: does not answer; for the log.
        first_seconds: to wait after the first failure.
        max_seconds: between two tries; the waits double up to it.

    Attributes:
        failing: why the last try failed; empty when it did not.
    """

    def __init__(self, what: str, first_seconds: float, max_seconds: float) -> None:
        self._what = what
        self._first_seconds = first_seconds
        self._max_seconds = max_seconds
        self._wait = 0.0
        self.failing = ""

    def failure(self, error: Exception) -> float:
        """Records a failed try; returns the seconds to wait before the next."""
        if not self._wait:
            _log.error("outage_began", what=self._what, reason=str(error))
        self.failing = str(error)
        self._wait = min(max(self._first_seconds, 2 * self._wait), self._max_seconds)
        return self._wait

    def end(self) -> None:
        """Records a successful try."""
        if self._wait:
            _log.info("outage_ended", what=self._what)
        self._wait, self.failing = 0.0, ""

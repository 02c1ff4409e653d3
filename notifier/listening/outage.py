"""Something that does not answer: told once as that begins and once when it is over."""

import structlog

from notifier.listening.reading import Reader

_FIRST_SECONDS = 0.5

_log = structlog.get_logger()


class Outage:
    """For the one thread that tries again and again.

    Args:
        what: does not answer, for the log.
        longest_seconds: between two tries; the waits double up to it.
        reader: whose metrics count failures.
        general: nothing can be heard meanwhile, so that it stands among ``reader.failing``.
    """

    def __init__(
        self, what: str, longest_seconds: float, reader: Reader, *, general: bool = False
    ) -> None:
        self._what = what
        self._longest = longest_seconds
        self._reader = reader
        self._general = general
        self._wait = 0.0

    def failed(self, error: Exception) -> float:
        """A try has failed; the seconds to wait before the next."""
        self._reader.metrics.failures.inc()
        if self._general:
            self._reader.failing[self._what] = str(error)
        if not self._wait:
            _log.error("intake_failing", what=self._what, reason=str(error))
        self._wait = min(max(_FIRST_SECONDS, 2 * self._wait), self._longest)
        return self._wait

    def over(self) -> None:
        """A try has worked."""
        self._reader.failing.pop(self._what, None)
        if self._wait:
            _log.info("intake_works_again", what=self._what)
        self._wait = 0.0

"""Ends a process one of whose steps takes too long, also in a library that never returns.

The kernel's timer does it: it needs no thread and no lock of Python's, and setting it costs less
than a microsecond.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from superres.pipeline.records import Stage

T = TypeVar("T")


class Clock:
    """Runs while a step computes, and not while it waits for storage or for Spark.

    This one ends nothing; an ``AlarmClock`` does.
    """

    def __init__(self) -> None:
        self._stage: Stage | None = None

    @contextmanager
    def computing(self, stage: Stage) -> Iterator[None]:
        """A step: the clock starts anew, and so it does for the step around this one after it."""
        with self._during(stage):
            yield

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """The clock stands still, and starts anew after it for the step around this one."""
        with self._during(None):
            yield

    def restart(self) -> None:
        """Begins the next step of the same kind."""
        self._set(self._stage)

    def each(self, stage: Stage, items: Iterable[T]) -> Iterator[T]:
        """The items, each of them a step."""
        return self._next_of(items, stage)

    def waiting_for(self, items: Iterable[T]) -> Iterator[T]:
        """The items, each of them waited for."""
        return self._next_of(items, None)

    def _next_of(self, items: Iterable[T], stage: Stage | None) -> Iterator[T]:
        iterator, end = iter(items), object()
        while True:
            with self._during(stage):
                item = next(iterator, end)
            if item is end:
                return
            yield item  # type: ignore[misc]  # not the end

    @contextmanager
    def _during(self, stage: Stage | None) -> Iterator[None]:
        before, self._stage = self._stage, stage
        self._set(stage)
        try:
            yield
        finally:
            self._stage = before
            self._set(before)

    def _set(self, stage: Stage | None) -> None:
        """Starts the clock anew for a step of ``stage``, or stops it."""


class AlarmClock(Clock):
    """Ends this process by SIGALRM when a step takes longer than ``seconds``.

    ``announce`` is called with the stage of each step that begins or goes on.
    """

    def __init__(self, seconds: float, announce: Callable[[Stage], None] = lambda _: None) -> None:
        super().__init__()
        self._seconds, self._announce = seconds, announce

    def _set(self, stage: Stage | None) -> None:
        if stage is not None:
            self._announce(stage)
        signal.setitimer(signal.ITIMER_REAL, 0 if stage is None else self._seconds)

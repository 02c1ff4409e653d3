"""Progress of a stage while Spark runs it: what tasks have counted, as they end.

Spark adds up accumulators in the driver whenever a task ends; a thread of the driver hands the sums
to whoever shows them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from pyspark import Accumulator, SparkContext


@dataclass(frozen=True)
class Shown:
    """What there is to show: the stage, how much of it is done, and for how long it has run."""

    stage: str
    done: int
    total: int
    unit: str
    seconds: float


Show = Callable[[Shown], None]


@dataclass
class Progress:
    """Counters that tasks add to; ``show`` hears of them twice a second while ``watching``."""

    image: Accumulator[int]
    patch: Accumulator[int]
    show: Show
    _stage: str = ""
    _unit: str = ""
    _total: int = 0
    _base: int = 0
    _started: float = field(default_factory=time.monotonic)

    def start(self, stage: str, total: int, unit: str) -> None:
        """A stage begins: ``total`` of ``unit`` (``images`` or ``patches``) lie before it."""
        self._stage, self._total, self._unit = stage, total, unit
        self._base, self._started = self._count(), time.monotonic()
        self.report()

    def report(self) -> None:
        """Tells ``show`` how far the stage is."""
        if self._stage:
            # A task that was tried twice counted twice.
            done = min(self._total, self._count() - self._base)
            seconds = time.monotonic() - self._started
            self.show(Shown(self._stage, done, self._total, self._unit, seconds))

    def _count(self) -> int:
        return int((self.patch if self._unit == "patches" else self.image).value)


@contextmanager
def watching(context: SparkContext, show: Show) -> Iterator[Progress]:
    """A ``Progress`` that reports by itself until the block ends."""
    progress = Progress(context.accumulator(0), context.accumulator(0), show)
    ended = Event()

    def watch() -> None:
        while not ended.wait(0.5):
            progress.report()

    thread = Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        ended.set()
        thread.join()
        progress.report()

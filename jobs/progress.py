"""Progress of a stage while Spark runs it.

Tasks count in accumulators, which Spark adds up in the driver whenever a task ends. A thread of the
driver reports the sums twice a second.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from pyspark import Accumulator, SparkContext


@dataclass(frozen=True)
class StageProgress:
    """A stage, how much of it is done, and for how many seconds it has run."""

    stage: str
    done: int
    total: int
    unit: str
    seconds: float


OnProgress = Callable[[StageProgress], None]


@dataclass
class Progress:
    """Counters that tasks add to; ``watching`` reports them to ``on_progress``."""

    image: Accumulator[int]
    patch: Accumulator[int]
    on_progress: OnProgress
    _stage: str = ""
    _unit: str = ""
    _total: int = 0
    _base: int = 0
    _started: float = field(default_factory=time.monotonic)

    def start(self, stage: str, total: int, unit: str) -> None:
        """Begins a stage of ``total`` units, which are ``images`` or ``patches``."""
        self._stage, self._total, self._unit = stage, total, unit
        self._base, self._started = self._count(), time.monotonic()
        self.report()

    def report(self) -> None:
        """Calls ``on_progress`` with the state of the current stage."""
        if self._stage:
            # A task that Spark ran twice was counted twice.
            done = min(self._total, self._count() - self._base)
            seconds = time.monotonic() - self._started
            now = StageProgress(self._stage, done, self._total, self._unit, seconds)
            self.on_progress(now)

    def _count(self) -> int:
        return int((self.patch if self._unit == "patches" else self.image).value)


@contextmanager
def watching(context: SparkContext, on_progress: OnProgress) -> Iterator[Progress]:
    """A ``Progress`` that reports twice a second until the block ends."""
    progress = Progress(context.accumulator(0), context.accumulator(0), on_progress)
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

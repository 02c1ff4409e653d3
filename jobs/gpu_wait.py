"""Fails a job that has waited too long for an executor with a GPU.

Spark waits for ever: on EMR that is a billed cluster without a GPU until the step's own timeout,
which allows for hours of work. A thread of the driver counts executors, from the job's beginning to
its end, because a spot instance may also go away and not be replaced.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from superres.errors import PrerequisiteError

_SECONDS_BETWEEN_COUNTS = 5.0


@contextmanager
def gpu_within(context: SparkContext, seconds: float) -> Iterator[None]:
    """Cancels the block's Spark jobs when there has been no executor with a GPU for ``seconds``.

    Raises ``PrerequisiteError`` then. Waits for ever with ``seconds`` 0, and does nothing where
    executors need no GPU.
    """
    if seconds == 0 or not _needs_gpus(context):
        yield
        return
    watch = _Watch(context, seconds)
    thread = Thread(target=watch.run, name="gpu_wait", daemon=True)
    thread.start()
    try:
        yield
    except (PySparkException, Py4JError):
        if watch.expired:
            raise PrerequisiteError(_message(context, seconds)) from None
        raise
    finally:
        watch.ended.set()
        thread.join()


@dataclass
class _Watch:
    context: SparkContext
    seconds: float
    expired: bool = False
    ended: Event = field(default_factory=Event)

    def run(self) -> None:
        """Counts executors until the block ends."""
        last_seen = time.monotonic()
        while not self.ended.wait(min(_SECONDS_BETWEEN_COUNTS, self.seconds / 4)):
            if _executors(self.context) > 0:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > self.seconds:
                self.expired = True
                # Again each time: the driver may have been between two Spark jobs.
                self.context.cancelAllJobs()


def _needs_gpus(context: SparkContext) -> bool:
    """Whether every executor has a GPU; a ``local`` master has no executors."""
    amount = context.getConf().get("spark.executor.resource.gpu.amount", "0")
    return amount != "0" and not re.fullmatch(r"local(\[.*)?", str(context.master))


def _executors(context: SparkContext) -> int:
    # Among the keepers of blocks is the driver.
    return int(context._jsc.sc().getExecutorMemoryStatus().size()) - 1


def _message(context: SparkContext, seconds: float) -> str:
    wanted = context.getConf().get("spark.dynamicAllocation.maxExecutors", "1")
    return (
        f"no executor with a GPU for {seconds:g} s (processing.gpu_wait_seconds), up to {wanted} "
        "wanted. Likely there is no capacity, neither spot nor on-demand, or no quota for the GPU "
        "instance types, or their bootstrap fails: see the events of EMR's task fleet, and in the "
        "logs bucket the bootstrap-actions logs. Nothing is lost: start again, and the run goes on"
    )

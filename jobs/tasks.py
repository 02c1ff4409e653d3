"""What an item may cost a task of Spark, and the task's first attempt, in its own process.

The first attempt is the quick one. It ends itself when a step takes too long or too much memory, as
a crash or the kernel would end it. Spark then tries the task again, and ``jobs.isolated_tasks``
finds the item that did it, rejects its image and finishes the others.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, TypeVar

from pyspark import SparkContext, TaskContext

from jobs.clock import AlarmClock, Clock
from jobs.isolation import Bounds
from jobs.memory import MIB, MemoryLimit, available_bytes, prefer_as_victim
from jobs.turns import executor_folder, is_someone_alone
from superres.pipeline.config import Processing

Item = TypeVar("Item")
Value = TypeVar("Value")

_SECONDS_BETWEEN_LOOKS = 0.25  # at the memory


@dataclass(frozen=True)
class TaskBounds:
    """What one item may cost a task: seconds for a step, and bytes of memory.

    Without ``memory_bytes``, three quarters of what the executor's machine or container has.
    """

    stall_seconds: float
    memory_bytes: int | None

    def here(self) -> Bounds:
        """The bounds on this machine."""
        size = self.memory_bytes or available_bytes() * 3 // 4
        return Bounds(self.stall_seconds, MemoryLimit(size))


def task_bounds(context: SparkContext, processing: Processing) -> TaskBounds:
    """The configured bounds, or those that the executors' containers set."""
    configured = processing.memory_mib
    size = _container_bytes(context) if configured is None else configured * MIB
    return TaskBounds(processing.stall_seconds, size)


def _container_bytes(context: SparkContext) -> int | None:
    """What YARN or Kubernetes leaves to Python of an executor's container; None elsewhere.

    What is configured beyond the heap, less what Spark reserves for the JVM if nothing is.
    """
    conf = context.getConf()
    overhead = conf.get("spark.executor.memoryOverhead")
    if not str(context.master).startswith(("yarn", "k8s")) or overhead is None:
        return None
    jvm: Any = context._jvm
    sizes = jvm.org.apache.spark.network.util.JavaUtils
    heap = sizes.byteStringAsMb(conf.get("spark.executor.memory", "1g"))
    mib = sizes.byteStringAsMb(overhead) - max(384, heap // 10)
    return int(mib) * MIB if mib > 0 else None


def is_first_attempt() -> bool:
    """Whether Spark has not tried this task before."""
    context = TaskContext.get()
    return context is None or context.attemptNumber() == 0


@contextmanager
def watched(bounds: Bounds) -> Iterator[Clock]:
    """A clock for the block; the process ends when a step or its memory exceeds the bounds.

    It also ends where memory is short while an isolated process has its last try, alone: that one's
    image is at stake, and here nothing but time.
    """
    prefer_as_victim()
    ended, folder = Event(), executor_folder()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            if bounds.memory.is_exceeded_by(os.getpid()) or (
                bounds.memory.is_exceeded() and is_someone_alone(folder)
            ):
                os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=watch, name="memory", daemon=True).start()
    try:
        yield AlarmClock(bounds.stall_seconds)
    finally:
        ended.set()


def in_this_process(
    items: Iterable[Item],
    bounds: TaskBounds,
    work: Callable[[Iterable[Item], Clock], Iterator[Value]],
) -> Iterator[Value]:
    """What ``work`` makes of the items, watched; waiting for an item costs nothing."""
    with watched(bounds.here()) as clock:
        yield from work(clock.waiting_for(items), clock)

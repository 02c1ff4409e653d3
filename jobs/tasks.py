"""How a task of Spark works: at its first attempt in its own process, later in one for each item.

The first attempt is the quick one. It ends itself when a step takes too long or too much memory, as
a crash or the kernel would end it; Spark then tries the task again, and the next attempt finds the
item that did it, rejects its image and finishes the others.
"""

import itertools
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from pyspark import AccumulatorParam, SparkContext, TaskContext

from jobs.clock import AlarmClock, Clock
from jobs.isolation import Bounds, Isolation, ItemLostError, isolation
from jobs.memory import MIB, MemoryLimit, available_bytes, prefer_as_victim
from jobs.selection import SourceImage, stored_images
from jobs.stages import Count, reject
from jobs.tables import ReconstructedImage, Timed
from jobs.works import (
    EvaluateWork,
    FusedWork,
    InferWork,
    LocatedImage,
    ReconstructWork,
    SplitWork,
    SpooledImage,
)
from superres.pipeline import storage
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout

Item = TypeVar("Item")
Value = TypeVar("Value")

_SECONDS_BETWEEN_LOOKS = 0.1  # at this process's memory


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
    sizes = context._jvm.org.apache.spark.network.util.JavaUtils  # type: ignore[union-attr]
    heap = sizes.byteStringAsMb(conf.get("spark.executor.memory", "1g"))
    mib = sizes.byteStringAsMb(overhead) - max(384, heap // 10)
    return int(mib) * MIB if mib > 0 else None


def is_first_attempt() -> bool:
    """Whether Spark has not tried this task before."""
    context = TaskContext.get()
    return context is None or context.attemptNumber() == 0


@contextmanager
def watched(bounds: Bounds) -> Iterator[Clock]:
    """A clock for the block; the process ends when a step or its memory exceeds the bounds."""
    prefer_as_victim()
    ended = Event()

    def watch() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            if bounds.memory.is_exceeded_by(os.getpid()):
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


def split_isolated(
    images: Iterable[SourceImage], work: SplitWork, bounds: TaskBounds, count_image: Count
) -> Iterator[Timed]:
    """As ``split_images``, each image in a process of its own."""
    with isolation(work, "split", bounds.here()) as process:
        for image in images:
            tiles = _results(process, image, image.image_id, image.uri, work.layout)
            count_image(1)
            yield from tiles or []


def fuse_isolated(
    images: Iterable[SourceImage], work: FusedWork, bounds: TaskBounds, count_image: Count
) -> Iterator[ReconstructedImage]:
    """All stages, each image in a process of its own."""
    with isolation(work, "split", bounds.here()) as process:
        for image in images:
            written = _results(process, image, image.image_id, image.uri, work.layout)
            count_image(1)
            yield from written or []


def infer_isolated(
    tiles: Iterable[Timed],
    work: InferWork,
    bounds: TaskBounds,
    layout: Layout,
    count_tile: Count,
    note_rejected: Callable[[frozenset[str]], None],
) -> Iterator[Timed]:
    """As ``infer_tiles``, each tile in a process of its own; a lost tile rejects its image.

    Tiles of that image before it have been yielded: the table then has an incomplete image.
    """
    rejected: set[str] = set()
    with isolation(work, "infer", bounds.here()) as process:
        for timed in tiles:
            image_id = timed.tile.image_id
            if image_id not in rejected:
                upscaled = _results(process, timed, image_id, None, layout)
                if upscaled is None:
                    rejected.add(image_id)
                    note_rejected(frozenset({image_id}))
                yield from upscaled or []
            count_tile(1)


def reconstruct_isolated(
    tiles: Iterable[Timed],
    work: ReconstructWork,
    bounds: TaskBounds,
    note_rejected: Callable[[frozenset[str]], None],
) -> Iterator[ReconstructedImage]:
    """As ``reconstruct_images``, each image in a process of its own, which reads a file of tiles.

    A second try needs the tiles again, and Spark gives them once.
    """
    with isolation(work, "reconstruct", bounds.here()) as process:
        for image_id, group in itertools.groupby(tiles, key=lambda timed: timed.tile.image_id):
            spooled = _spooled(image_id, group, process.folder)
            written = _results(process, spooled, image_id, None, work.layout)
            spooled.path.unlink()
            if written is None:
                note_rejected(frozenset({image_id}))
            yield from written or []


def evaluate_isolated(
    images: Iterable[LocatedImage], work: EvaluateWork, bounds: TaskBounds
) -> Iterator[tuple[ReconstructedImage, bool]]:
    """Each image and whether it was evaluated, each in a process of its own."""
    with isolation(work, "evaluate", bounds.here()) as process:
        for located in images:
            image_id = located.image.image_id
            evaluated = _results(process, located, image_id, None, work.layout)
            yield located.image, evaluated == [True]


def _results(
    process: Isolation[Item, Value], item: Item, image_id: str, uri: str | None, layout: Layout
) -> list[Value] | None:
    """What comes of the item; None when its image was rejected because the item was lost.

    ``uri`` is that of the low-resolution image; None: it is looked for when it is needed.
    """
    try:
        return process.results(item)
    except ItemLostError as lost:
        uri = uri or _low_resolution(image_id, layout)
        reject(image_id, uri, lost.stage, str(lost), layout)
        return None


def _low_resolution(image_id: str, layout: Layout) -> str:
    for image in stored_images(layout).images:
        if image.image_id == image_id:
            return image.uri
    return storage.join(layout.low_resolution, f"{image_id}.png")


def _spooled(image_id: str, tiles: Iterable[Timed], folder: Path) -> SpooledImage:
    path = folder / "tiles"
    with path.open("wb") as stream:
        for timed in tiles:
            pickle.dump(timed, stream)
    return SpooledImage(image_id, path)


class Union(AccumulatorParam[frozenset[str]]):
    """Adds up sets of names: a task that Spark runs twice adds the same ones."""

    def zero(self, value: frozenset[str]) -> frozenset[str]:
        """The empty set."""
        return frozenset()

    def addInPlace(  # noqa: N802  # Spark's name
        self, value1: frozenset[str], value2: frozenset[str]
    ) -> frozenset[str]:
        """Both."""
        return value1 | value2

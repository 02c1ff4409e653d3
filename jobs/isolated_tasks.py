"""Tasks that work on each item in a process of its own: one function for each job.

A lost item rejects its image, with the reason.
"""

import itertools
import pickle
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pyspark import AccumulatorParam

from jobs.isolation import Isolation, ItemLostError, isolation
from jobs.selection import SourceImage, stored_images
from jobs.stages import Count, reject
from jobs.tables import ReconstructedImage, Timed
from jobs.tasks import TaskBounds
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
from superres.pipeline.layout import Layout

Item = TypeVar("Item")
Value = TypeVar("Value")


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
            yield located.image, list(evaluated or []) == [True]


def _results(
    process: Isolation[Item, Value], item: Item, image_id: str, uri: str | None, layout: Layout
) -> Iterator[Value] | None:
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

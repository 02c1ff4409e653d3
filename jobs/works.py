"""The work of each job on one item, as a process of its own gets it: picklable and without Spark.

``prepare`` does what depends on no item, so that what fails there is the machine's fault and no
image's. ``over`` makes what the job makes of many items, with the functions of ``jobs.stages``, and
``results`` what it makes of one.
"""

import pickle
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, cast

import numpy as np

from jobs.clock import Clock
from jobs.evaluate_image import ImageLocations, evaluate_image
from jobs.selection import SourceImage
from jobs.stages import Count, ignore_count, infer_tiles, reconstruct_images, split_images
from jobs.tables import ReconstructedImage, Timed
from superres.imaging.colour import Planes
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.network.engine import Engine, engine_in_this_process
from superres.network.self_test import tiny_image
from superres.network.tiling import with_halo
from superres.network.weights import Weights
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout
from superres.pipeline.recipe import Precision

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)


class Work(Protocol[Item, Result]):
    """What a process of its own does."""

    def prepare(self) -> None:
        """Tries what every item needs."""

    def results(self, item: Item, clock: Clock) -> Iterator[Result]:
        """What comes of one item."""


@dataclass(frozen=True)
class Engines:
    """The engines of a run's networks on a device, each made when it is first called for."""

    networks: Mapping[str, Weights]
    device: str
    precision: Precision

    def __call__(self, network: str) -> Engine:
        """This process's engine of the network."""
        return engine_in_this_process(self.networks[network], self.device, self.precision)

    def prepare(self) -> None:
        """Upscales a tiny image; networks differ in their numbers alone, so one will do."""
        engine = self(next(iter(self.networks)))
        engine.upscale(cast(Planes, with_halo(tiny_image()[np.newaxis])))


@dataclass(frozen=True)
class SplitWork:
    """An image to its tiles; none when it is rejected."""

    processing: Processing
    layout: Layout

    def prepare(self) -> None:
        """Decodes a tiny image."""
        decode(encode_png_bytes(tiny_image()), Limits(1 << 20, 1 << 20)).planes()

    def over(
        self, images: Iterable[SourceImage], clock: Clock, count_image: Count = ignore_count
    ) -> Iterator[Timed]:
        """The tiles of the images, row by row."""
        return split_images(images, self.processing, self.layout, count_image, clock)

    def results(self, item: SourceImage, clock: Clock) -> Iterator[Timed]:
        """The tiles of one image."""
        return self.over([item], clock)


@dataclass(frozen=True)
class InferWork:
    """A tile to its upscaled tile."""

    engines: Engines

    def prepare(self) -> None:
        """Tries the engines."""
        self.engines.prepare()

    def over(
        self, tiles: Iterable[Timed], clock: Clock, count_tile: Count = ignore_count
    ) -> Iterator[Timed]:
        """The upscaled tiles."""
        return infer_tiles(tiles, self.engines, count_tile, clock)

    def results(self, item: Timed, clock: Clock) -> Iterator[Timed]:
        """The upscaled tile."""
        return self.over([item], clock)


@dataclass(frozen=True)
class SpooledImage:
    """The upscaled tiles of one image in a file: pickles of ``Timed``, one after the other."""

    image_id: str
    path: Path

    def tiles(self) -> Iterator[Timed]:
        """The tiles."""
        with self.path.open("rb") as stream:
            while True:
                try:
                    yield pickle.load(stream)
                except EOFError:
                    return


@dataclass(frozen=True)
class ReconstructWork:
    """The tiles of an image to its PNG."""

    layout: Layout

    def prepare(self) -> None:
        """Encodes a tiny image."""
        encode_png_bytes(tiny_image())

    def over(self, tiles: Iterable[Timed], clock: Clock) -> Iterator[ReconstructedImage]:
        """The images that were written."""
        return reconstruct_images(tiles, self.layout, clock)

    def results(self, item: SpooledImage, clock: Clock) -> Iterator[ReconstructedImage]:
        """The image that was written."""
        return self.over(item.tiles(), clock)


@dataclass(frozen=True)
class FusedWork:
    """An image to its PNG, through all stages; nothing when it is rejected."""

    processing: Processing
    layout: Layout
    engines: Engines

    def prepare(self) -> None:
        """Decodes a tiny image and tries the engines."""
        SplitWork(self.processing, self.layout).prepare()
        self.engines.prepare()

    def over(
        self,
        images: Iterable[SourceImage],
        clock: Clock,
        count_image: Count = ignore_count,
        count_tile: Count = ignore_count,
    ) -> Iterator[ReconstructedImage]:
        """The images that were written."""
        tiles = split_images(images, self.processing, self.layout, count_image, clock)
        upscaled = infer_tiles(tiles, self.engines, count_tile, clock)
        return reconstruct_images(upscaled, self.layout, clock)

    def results(self, item: SourceImage, clock: Clock) -> Iterator[ReconstructedImage]:
        """The image that was written."""
        return self.over([item], clock)


@dataclass(frozen=True)
class LocatedImage:
    """An image to evaluate, and where its parts are."""

    image: ReconstructedImage
    locations: ImageLocations


@dataclass(frozen=True)
class EvaluateWork:
    """An image to whether it was evaluated, and not rejected."""

    processing: Processing
    layout: Layout

    def prepare(self) -> None:
        """Decodes a tiny image."""
        SplitWork(self.processing, self.layout).prepare()

    def over(
        self, images: Iterable[LocatedImage], clock: Clock
    ) -> Iterator[tuple[ReconstructedImage, bool]]:
        """The images, and whether each was evaluated."""
        for each in images:
            yield (
                each.image,
                evaluate_image(each.image, each.locations, self.processing, self.layout, clock),
            )

    def results(self, item: LocatedImage, clock: Clock) -> Iterator[bool]:
        """Whether the image was evaluated."""
        return (finished for _, finished in self.over([item], clock))

"""The work of each job, without Spark: functions from one iterator to another.

split: images to tiles. infer: tiles to upscaled tiles. reconstruct: upscaled tiles to PNG files.
Three Spark jobs chain them with tables in between; ``fused`` chains them in one process and writes
nothing in between. Either way the same functions make the same pixels.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jobs.clock import Clock
from jobs.selection import SourceImage
from jobs.tables import ReconstructedImage, Timed
from superres.errors import ImageRejectedError, RecordError, StorageError
from superres.imaging.decoding import decode
from superres.imaging.jpeg import planes_through_jpeg
from superres.imaging.png import encode_png
from superres.network.engine import Engine
from superres.network.restore import network_of, network_of_image
from superres.network.tiling import Tile, split, strips
from superres.network.upscaling import upscale_tiles, upscaled_info
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import RejectedImage, Stage, applied_recipe
from superres.pipeline.working_folder import clear_abandoned

Count = Callable[[int], None]
EngineFor = Callable[[str], Engine]
"""The engine of a network, in the process that asks."""

UNLIMITED = Clock()
IMAGE_GONE = "deleted since the run listed it; import it again"


def ignore_count(_: int) -> None:
    """Counts nothing."""


def split_images(
    images: Iterable[SourceImage],
    processing: Processing,
    layout: Layout,
    count_image: Count = ignore_count,
    clock: Clock = UNLIMITED,
) -> Iterator[Timed]:
    """Decodes each image and cuts it into tiles, row by row.

    An image that cannot be decoded is rejected and yields no tile; the others go on. Each image is
    decoded whole before its first tile is yielded, so that damage is found in time.
    """
    for image in images:
        started = time.perf_counter()
        try:
            with clock.waiting():
                content = _content(image, processing)
            with clock.computing("split"):
                tiles, network = _tiles_of(image, content, processing, layout.recipe)
        except ImageRejectedError as error:
            with clock.waiting():
                reject(image.image_id, image.uri, "split", str(error), layout)
            count_image(1)
            continue
        share = (time.perf_counter() - started) / len(tiles)
        count_image(1)
        for tile in tiles:
            yield Timed(tile, network, share)


def _tiles_of(
    image: SourceImage, content: bytes, processing: Processing, recipe: Recipe
) -> tuple[list[Tile], str]:
    """The tiles of an image, and the network for them."""
    decoded = decode(content, processing.limits, grayscale=recipe.grayscale)
    planes = planes_through_jpeg(decoded.planes(), image.jpeg_quality)
    network = _network(image, content, recipe)
    return list(split(image.image_id, decoded.info, planes, processing.patch_size)), network


def _content(image: SourceImage, processing: Processing) -> bytes:
    if image.size > processing.limits.max_bytes:  # known from the listing: do not even fetch it
        raise ImageRejectedError(
            f"{image.size / 2**20:.0f} MiB, over the limit of {processing.max_megabytes:g}; "
            "raise processing.max_megabytes or send a smaller file"
        )
    with rejected_if_gone({image.uri: IMAGE_GONE}):
        return storage.read_bytes(image.uri)


@contextmanager
def rejected_if_gone(reasons: Mapping[str, str]) -> Iterator[None]:
    """Reading from the URIs that are the keys: raises ``ImageRejectedError`` when one is gone.

    A ``StorageError`` passes where all are still there: storage fails, and may not for long. So it
    does where the whole folder is gone, as when a disk is not mounted.
    """
    try:
        yield
    except StorageError:
        for uri, reason in reasons.items():
            if not storage.exists(uri) and (storage.is_s3(uri) or Path(uri).parent.is_dir()):
                raise ImageRejectedError(reason) from None
        raise


def _network(image: SourceImage, content: bytes, recipe: Recipe) -> str:
    if image.jpeg_quality is not None:  # what it has gone through just now
        return network_of(recipe, image.jpeg_quality)
    return network_of_image(recipe, content)


def infer_tiles(
    tiles: Iterable[Timed],
    engine_for: EngineFor,
    count_tile: Count = ignore_count,
    clock: Clock = UNLIMITED,
) -> Iterator[Timed]:
    """Upscales tiles in order, each with its network; adds the seconds that each took.

    Tiles that follow one another and have the same network are upscaled together.
    """
    for network, group in itertools.groupby(tiles, key=lambda timed: timed.network):
        engine = engine_for(network)
        tally = _Tally()
        seconds_before = 0.0
        started = time.perf_counter()
        for tile in clock.each("infer", upscale_tiles(tally.pull(group), engine)):
            spent = time.perf_counter() - started - tally.waited
            count_tile(1)
            seconds = tally.seconds - seconds_before + spent
            yield Timed(tile, network, seconds, engine.digest)
            seconds_before, tally.waited = tally.seconds, 0.0
            started = time.perf_counter()


def reconstruct_images(
    tiles: Iterable[Timed], layout: Layout, clock: Clock = UNLIMITED
) -> Iterator[ReconstructedImage]:
    """Puts images together and writes their PNG files, a row of tiles at a time.

    The tiles of an image follow one another, sorted by row and column. Raises
    ``IncompleteImageError`` when one is missing; then no file is written for that image.
    """
    for image_id, group in itertools.groupby(tiles, key=lambda timed: timed.tile.image_id):
        started = time.perf_counter()
        first = next(group)
        info = upscaled_info(first.tile.info, layout.scale)
        tally = _Tally()
        uri = layout.result(image_id)
        with storage.staged(uri) as path:
            # groupby's group is read in order here: its first tile, then the rest.
            tiles_of_image = itertools.chain([first], group)  # noqa: B031
            with clock.computing("reconstruct"):
                encode_png(strips(tally.pull(tiles_of_image)), info, path)
        spent = tally.seconds + time.perf_counter() - started - tally.waited
        yield ReconstructedImage(
            image_id=image_id,
            uri=uri,
            width=info.width,
            height=info.height,
            patches=tally.tiles,
            seconds=spent,
            network=first.network,
            model_digest=first.model_digest,
        )


def clear_unfinished(layout: Layout) -> None:
    """Deletes what processes that were killed have left among the results in a local folder."""
    folder = Path(layout.result("any")).parent
    if not storage.is_s3(layout.result("any")) and folder.is_dir():
        clear_abandoned(folder)


@dataclass
class _Tally:
    """Counts the tiles that a stage pulls from the stage before it.

    ``seconds`` is the time that earlier stages spent on them; ``waited`` is how long pulling took,
    which is the earlier stages' time and not this one's.
    """

    tiles: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def pull(self, tiles: Iterable[Timed]) -> Iterator[Tile]:
        started = time.perf_counter()
        for timed in tiles:
            self.waited += time.perf_counter() - started
            self.tiles += 1
            self.seconds += timed.seconds
            yield timed.tile
            started = time.perf_counter()


def reject(image_id: str, uri: str, stage: Stage, reason: str, layout: Layout) -> None:
    """Records that an image, whose low resolution is at ``uri``, was rejected."""
    source, path = _source_of(uri)
    record = RejectedImage(
        image_id=image_id,
        source=source,
        stage=stage,
        reason=reason,
        rejected_at=datetime.now(UTC),
        run_id=layout.run_id,
        start_id=layout.start_id,
        recipe=applied_recipe(layout.recipe),
        path=path,
    )
    storage.write_bytes(layout.rejection(image_id), record.to_json().encode())
    storage.delete(layout.evaluation(image_id))  # of an earlier run, with --redo


def _source_of(uri: str) -> tuple[str, str | None]:
    """The source of the low-resolution image at ``uri``, and its path there."""
    try:
        reference = reference_of(uri)
    except RecordError:
        return uri, None  # the image is being rejected already
    return (reference.source, reference.path) if reference else (uri, None)

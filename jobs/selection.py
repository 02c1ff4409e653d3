"""Which images a run takes, and how they are dealt out to Spark's tasks."""

import heapq
import re
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

from superres.errors import StorageError
from superres.pipeline import storage
from superres.pipeline.arrival import newest_of_each
from superres.pipeline.layout import Layout
from superres.pipeline.records import IMAGE_ID, RejectedImage

# Decoded bytes per encoded byte, roughly: what a folder listing can tell before any header is read.
_EXPANSION = {"png": 2, "bmp": 1, "tif": 2, "tiff": 2, "gif": 8}
_EXPANSION_OF_PHOTOGRAPHS = 10  # JPEG and WebP
# Sizes are guesses, so the work is cut finer than the cores need: who is early takes more.
_LEAST_WAVES = 3
_REQUESTS_AT_ONCE = 16


@dataclass(frozen=True)
class SourceImage:
    """A low-resolution image to process: its identifier (the file's stem), URI and encoded size."""

    image_id: str
    uri: str
    size: int

    @property
    def decoded_size(self) -> int:
        """About how many bytes its planes take."""
        suffix = self.uri.rsplit(".", 1)[-1].lower()
        return self.size * _EXPANSION.get(suffix, _EXPANSION_OF_PHOTOGRAPHS)


def pending_images(layout: Layout) -> list[SourceImage]:
    """The run's images with neither an evaluation nor a rejection by a job.

    A rejection by ingestion says nothing of an image that is stored: another delivery of it failed.
    """
    images = stored_images(layout)
    finished = {file.stem for file in storage.list_files(layout.evaluations)}
    unfinished = [image for image in images if image.image_id not in finished]
    records = rejections(layout, {image.image_id for image in unfinished})
    rejected = {record.image_id for record in records if record.stage != "ingest"}
    return [image for image in unfinished if image.image_id not in rejected]


def forget_finished(layout: Layout) -> None:
    """Deletes the evaluations and rejections of the stored images, so that all are pending."""
    stored = {image.image_id for image in stored_images(layout)}
    records = [
        file.uri
        for folder in (layout.evaluations, layout.rejections)
        for file in storage.list_files(folder)
        if file.stem in stored
    ]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        list(pool.map(storage.delete, records))


def rejections(layout: Layout, among: Collection[str] | None = None) -> list[RejectedImage]:
    """The rejections of the scale and date, or those of the images ``among`` them."""
    files = storage.list_files(layout.rejections)
    uris = [file.uri for file in files if among is None or file.stem in among]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return [record for record in pool.map(_rejection, uris) if record is not None]


def _rejection(uri: str) -> RejectedImage | None:
    try:
        return RejectedImage.from_json(storage.read_bytes(uri), uri)
    except StorageError:
        if storage.exists(uri):
            raise
        return None  # a run beside this one has just finished the image


def stored_images(layout: Layout) -> list[SourceImage]:
    """The images of the run's scale and date, finished or not.

    Left out, with one remark for each on standard error: a file that is not named by an image_id,
    and the older of two files of one image.
    """
    stored = storage.list_files(layout.low_resolution)
    files = [file for file in stored if not file.name.endswith(".json")]
    newest = newest_of_each(file for file in files if re.fullmatch(IMAGE_ID, file.stem))
    for file in files:
        if file.stem not in newest:
            _remark_once(
                f"{file.uri}: left out: not named by an image_id (32 hex digits); bring "
                "photographs in with `superres run --input` or ingestion"
            )
        elif file is not newest[file.stem]:
            _remark_once(f"{file.uri}: left out: {newest[file.stem].name} has come since")
    return [SourceImage(image_id, file.uri, file.size) for image_id, file in newest.items()]


@cache
def _remark_once(line: str) -> None:
    print(line, file=sys.stderr)


def deal(
    images: list[SourceImage], tasks_at_once: int, bytes_per_task: int
) -> list[list[SourceImage]]:
    """Deals images into groups of like size, one for each task.

    There are enough groups that each decodes to about ``bytes_per_task`` or less, and, images
    permitting, a multiple of ``tasks_at_once``, so that no core idles in the last wave.
    """
    if not images:
        return []
    total = sum(image.decoded_size for image in images)
    waves = max(_LEAST_WAVES, -(-total // (bytes_per_task * tasks_at_once)))
    count = min(len(images), waves * tasks_at_once)
    groups: list[list[SourceImage]] = [[] for _ in range(count)]
    loads = [(0, index) for index in range(count)]
    for image in sorted(images, key=lambda image: image.decoded_size, reverse=True):
        load, index = heapq.heappop(loads)
        groups[index].append(image)
        heapq.heappush(loads, (load + max(1, image.decoded_size), index))
    return groups

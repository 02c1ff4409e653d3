"""Which images a run takes, and how they are dealt out to Spark's tasks."""

import heapq
import re
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from superres import storage
from superres.errors import StorageError
from superres.layout import Layout
from superres.records import IMAGE_ID, RejectedImage
from superres.storage import StoredFile

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
    Raises ``StorageError`` for a file that is not named by an image_id, and for two of one name.
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
    """The images of the run's scale and date, finished or not; raises as ``pending_images``."""
    images = [
        SourceImage(_image_id(file), file.uri, file.size)
        for file in storage.list_files(layout.low_resolution)
        if not file.name.endswith(".json")
    ]
    _refuse_doubles(images)
    return images


def _image_id(file: StoredFile) -> str:
    if not re.fullmatch(IMAGE_ID, file.stem):
        raise StorageError(
            f"{file.uri}: not named by an image_id (32 hex digits); bring photographs in with "
            "`superres run --input` or ingestion"
        )
    return file.stem


def _refuse_doubles(images: list[SourceImage]) -> None:
    by_id: dict[str, str] = {}
    for image in images:
        if image.image_id in by_id:
            raise StorageError(f"{image.uri} and {by_id[image.image_id]}: one image_id; remove one")
        by_id[image.image_id] = image.uri


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

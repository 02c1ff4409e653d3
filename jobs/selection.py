"""Which images a run processes, and how they are shared out among Spark's tasks."""

import heapq
import re
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from superres.errors import StorageError
from superres.pipeline import storage
from superres.pipeline.arrival import newest_of_each
from superres.pipeline.layout import Layout, recipe_folder
from superres.pipeline.records import IMAGE_ID, RejectedImage
from superres.pipeline.storage import StoredFile

# Decoded bytes per encoded byte, roughly: all that a folder listing shows before a header is read.
_EXPANSION = {"png": 2, "bmp": 1, "tif": 2, "tiff": 2, "gif": 8}
_EXPANSION_OF_PHOTOGRAPHS = 10  # JPEG and WebP
# Sizes are guesses, so there are more tasks than cores: a core that is early takes another one.
_LEAST_WAVES = 3
_REQUESTS_AT_ONCE = 16


@dataclass(frozen=True)
class SourceImage:
    """A low-resolution image to process.

    Attributes:
        image_id: its identifier, the file's stem.
        uri: the file.
        size: in bytes, encoded.
        jpeg_quality: it goes through JPEG at this quality before it is upscaled; None: it does not.
    """

    image_id: str
    uri: str
    size: int
    jpeg_quality: int | None = None

    @property
    def decoded_size(self) -> int:
        """About how many bytes its planes take."""
        suffix = self.uri.rsplit(".", 1)[-1].lower()
        return self.size * _EXPANSION.get(suffix, _EXPANSION_OF_PHOTOGRAPHS)


@dataclass(frozen=True)
class LeftOut:
    """A file among the low-resolution images that no run processes, and why."""

    uri: str
    reason: str

    def __str__(self) -> str:
        return f"{self.uri}: left out: {self.reason}"


@dataclass(frozen=True)
class Selection:
    """Images in storage, and the files beside them that are left out."""

    images: list[SourceImage]
    left_out: list[LeftOut]


def stored_images(layout: Layout) -> Selection:
    """The images of the run's scale and date, whether finished or not.

    Left out are files that are not named by an image_id, the older of two files of one image, and
    images whose reference has a recipe of its own that is not the run's.
    """
    stored = storage.list_files(layout.low_resolution)
    files = [file for file in stored if not file.name.endswith(".json")]
    left_out = _of_other_recipes(files, layout)
    of_others = {file.uri for file in left_out}
    files = [file for file in files if file.uri not in of_others]
    newest = newest_of_each(file for file in files if re.fullmatch(IMAGE_ID, file.stem))
    for file in files:
        if file.stem not in newest:
            reason = (
                "not named by an image_id (32 hex digits); import images with "
                "`superres run --input` or ingestion"
            )
            left_out.append(LeftOut(file.uri, reason))
        elif file is not newest[file.stem]:
            left_out.append(LeftOut(file.uri, f"{newest[file.stem].name} is newer"))
    images = [SourceImage(image_id, file.uri, file.size) for image_id, file in newest.items()]
    return Selection(_through_jpeg(images, layout), left_out)


def _through_jpeg(images: list[SourceImage], layout: Layout) -> list[SourceImage]:
    """With ``evaluate.jpeg_quality``, images that have an original go through JPEG first."""
    quality = layout.recipe.evaluate_jpeg_quality
    if quality is None:
        return images
    originals = newest_of_each(storage.list_files(layout.high_resolution))
    return [
        replace(image, jpeg_quality=quality) if image.image_id in originals else image
        for image in images
    ]


def _of_other_recipes(files: Iterable[StoredFile], layout: Layout) -> list[LeftOut]:
    """The images with a recipe of their own that is not the run's."""
    ours, left_out = recipe_folder(layout.recipe), []
    for file in files:
        folder = file.uri.rsplit("/", 2)[-2]
        own = re.fullmatch(r"recipe=(\w+)", folder)
        if own is not None and folder != ours:
            asked = _named(None if own[1] == "default" else own[1])
            reason = f"it asks for the {asked}, and this run has the {_named(layout.recipe.key)}"
            left_out.append(LeftOut(file.uri, reason))
    return left_out


def _named(key: str | None) -> str:
    return f"recipe {key}" if key else "default recipe"


def pending_images(layout: Layout) -> Selection:
    """The run's images with neither an evaluation nor a rejection by a job.

    A rejection by ingestion does not count for an image that is stored: another message about the
    same image was rejected.
    """
    stored = stored_images(layout)
    # Not nested: below the records of the default recipe are those of others.
    finished = {file.stem for file in storage.list_files(layout.evaluations, nested=False)}
    unfinished = [image for image in stored.images if image.image_id not in finished]
    records = rejections(layout, {image.image_id for image in unfinished})
    rejected = {record.image_id for record in records if record.stage != "ingest"}
    return replace(stored, images=[image for image in unfinished if image.image_id not in rejected])


def forget_finished(layout: Layout) -> None:
    """Deletes the run's evaluations and rejections of stored images, so that all are pending."""
    stored = {image.image_id for image in stored_images(layout).images}
    records = [
        file.uri
        for folder in (layout.evaluations, layout.rejections)
        for file in storage.list_files(folder, nested=False)
        if file.stem in stored
    ]
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        list(pool.map(storage.delete, records))


def rejections(layout: Layout, among: Collection[str] | None = None) -> list[RejectedImage]:
    """The rejections of scale, date and recipe; with ``among``, only those of these image_ids."""
    files = storage.list_files(layout.rejections, nested=False)
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

"""Imports a folder of images into the storage layout, for runs on one machine.

Ingestion does this for images from anywhere; here it is done for files on this machine: store the
original and its bicubic reduction (mode ``evaluate``), or the image itself (``upscale``).
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

from superres.errors import ConfigError, ImageRejectedError, StorageError
from superres.imaging.files import no_images, why_no_file
from superres.imaging.names import readable
from superres.pipeline.arrival import reference_to_file, reject_arrival, source_of, store_image
from superres.pipeline.config import Processing
from superres.pipeline.input_folder import images_of, listed
from superres.pipeline.layout import Layout
from superres.pipeline.records import Mode, image_id_of
from superres.pipeline.source_path import path_of_file


@dataclass(frozen=True)
class ImportedImage:
    """A file and its image_id; ``rejected`` is the reason where it could not be stored."""

    path: Path
    image_id: str
    rejected: str | None = None


def find_images(path: Path) -> tuple[list[Path], list[str]]:
    """The file itself, or all images below a folder, by name; and a line for what is left out.

    Linked folders are not followed. Raises ``ConfigError`` when there is nothing that looks like an
    image.
    """
    if not os.path.isdir(path):  # noqa: PTH112  # Path.is_dir raises where it may not look
        if reason := why_no_file(path):
            raise ConfigError(
                f"{readable(str(path))}: {reason}; give an image or a folder of images"
            )
        return images_of([path])
    files: list[Path] = []
    remarks: list[str] = []
    folders = [path]
    while folders:
        folder = folders.pop()
        try:
            listing = listed(folder)
        except OSError as error:
            remarks.append(f"{readable(str(folder))}: left out: {error.strerror}")
            continue
        files += (folder / name for name in listing.images)
        remarks += listing.remarks
        below = (folder / name for name in listing.folders)
        folders += (each for each in below if not each.is_symlink())
    if not files and not remarks:
        raise no_images(path)
    return sorted(files), remarks


def import_images(
    files: list[Path],
    mode: Mode,
    processing: Processing,
    layout: Layout,
    folder: Path | None = None,
) -> Iterator[ImportedImage]:
    """Stores each file; one that is no acceptable image is rejected, and the others go on.

    ``folder`` is what the files were found in, if it was one; results keep their paths below it.
    """

    def store(file: Path) -> ImportedImage:
        return _import_one(file, path_of_file(file, folder), mode, processing, layout)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(store, files)


def _import_one(
    file: Path, path: str | None, mode: Mode, processing: Processing, layout: Layout
) -> ImportedImage:
    requested_at = datetime.combine(layout.ingest_date, time(), UTC)
    try:
        reference = reference_to_file(file, mode, layout.scale, requested_at, path)
    except StorageError as error:
        image_id = image_id_of(mode, layout.scale, f"folder:{file.absolute()}")
        reject_arrival(image_id, source_of(file), str(error), layout, path)
        return ImportedImage(file, image_id, str(error))
    try:
        store_image(file, reference, layout, processing)
    except ImageRejectedError as error:
        reject_arrival(reference.image_id, reference.source, str(error), layout, path)
        return ImportedImage(file, reference.image_id, str(error))
    return ImportedImage(file, reference.image_id)

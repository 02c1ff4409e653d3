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
from superres.imaging.files import SUFFIXES, is_image_name
from superres.pipeline.arrival import reference_to_file, reject_arrival, store_image
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout
from superres.pipeline.records import Mode, image_id_of


@dataclass(frozen=True)
class ImportedImage:
    """A file and its image_id; ``rejected`` is the reason where it could not be stored."""

    path: Path
    image_id: str
    rejected: str | None = None


def find_images(path: Path) -> list[Path]:
    """The file itself, or all image files below a folder, by name.

    Raises ``ConfigError`` when there are none.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give a folder of images")
    files = sorted(file for file in path.rglob("*") if is_image_name(file.name) and file.is_file())
    if not files:
        raise ConfigError(f"{path}: no image files in it; looked for {', '.join(sorted(SUFFIXES))}")
    return files


def import_images(
    files: list[Path], mode: Mode, processing: Processing, layout: Layout
) -> Iterator[ImportedImage]:
    """Stores each file; one that is no acceptable image is rejected, and the others go on."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda file: _import_one(file, mode, processing, layout), files)


def _import_one(file: Path, mode: Mode, processing: Processing, layout: Layout) -> ImportedImage:
    requested_at = datetime.combine(layout.ingest_date, time(), UTC)
    try:
        reference = reference_to_file(file, mode, layout.scale, requested_at)
    except StorageError as error:
        image_id = image_id_of(mode, layout.scale, f"folder:{file.absolute()}")
        reject_arrival(image_id, f"folder:{file.name}", str(error), layout)
        return ImportedImage(file, image_id, str(error))
    try:
        store_image(file, reference, layout, processing)
    except ImageRejectedError as error:
        reject_arrival(reference.image_id, reference.source, str(error), layout)
        return ImportedImage(file, reference.image_id, str(error))
    return ImportedImage(file, reference.image_id)

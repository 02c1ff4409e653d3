"""Bringing a folder of photographs into the storage layout, for runs on one machine.

What the ingestion service does for images from anywhere, this does for files that are already here:
store the original and its bicubic reduction (mode ``evaluate``) or the image itself (``upscale``).
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
class TakenIn:
    """A photograph that now lies in the layout, or why it does not."""

    path: Path
    image_id: str
    rejected: str | None = None


def photographs_in(path: Path) -> list[Path]:
    """The file itself, or every image file below a folder, by name."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give INPUT a folder of photographs")
    files = sorted(file for file in path.rglob("*") if is_image_name(file.name) and file.is_file())
    if not files:
        raise ConfigError(f"{path}: no image file in it; looked for {', '.join(sorted(SUFFIXES))}")
    return files


def take_in(
    files: list[Path], mode: Mode, processing: Processing, layout: Layout
) -> Iterator[TakenIn]:
    """Stores each photograph; one that is no image is rejected, and the others go on."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(lambda file: _take_in_one(file, mode, processing, layout), files)


def _take_in_one(file: Path, mode: Mode, processing: Processing, layout: Layout) -> TakenIn:
    requested_at = datetime.combine(layout.ingest_date, time(), UTC)
    try:
        reference = reference_to_file(file, mode, layout.scale, requested_at)
    except StorageError as error:
        image_id = image_id_of(mode, layout.scale, f"folder:{file.absolute()}")
        reject_arrival(image_id, f"folder:{file.name}", str(error), layout)
        return TakenIn(file, image_id, str(error))
    try:
        store_image(file, reference, layout, processing)
    except ImageRejectedError as error:
        reject_arrival(reference.image_id, reference.source, str(error), layout)
        return TakenIn(file, reference.image_id, str(error))
    return TakenIn(file, reference.image_id)

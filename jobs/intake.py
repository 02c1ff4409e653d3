"""Bringing a folder of photographs into the storage layout, for runs on one machine.

What the ingestion service does for images from anywhere, this does for files that are already here:
store the original and its bicubic reduction (mode ``evaluate``) or the image itself (``upscale``).
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

from jobs.stages import reject
from superres import storage
from superres.colour import Planes
from superres.config import Processing
from superres.errors import ConfigError, ImageRejectedError
from superres.images import ImageInfo, Limits, decode_file
from superres.layout import Layout
from superres.png import encode_png
from superres.records import ImageReference, Mode, image_id_of
from superres.resample import reduce_planes

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_SAMPLES = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)


@dataclass(frozen=True)
class TakenIn:
    """A photograph that now lies in the layout, or why it does not."""

    path: Path
    image_id: str
    rejected: str | None = None


def sample_photographs() -> list[Path]:
    """The colour photographs that the scikit-image wheel carries."""
    from importlib import resources

    folder = Path(str(resources.files("skimage") / "data"))
    return [path for name in _SAMPLES if (path := folder / name).is_file()]


def photographs_in(path: Path) -> list[Path]:
    """The file itself, or every image file below a folder, by name."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or folder; give INPUT a folder of photographs")
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES and file.is_file() and not file.name.startswith(".")
    )
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
    try:
        content = file.read_bytes()
    except OSError as error:
        image_id = image_id_of(mode, layout.scale, f"folder:{file.absolute()}")
        reason = f"cannot be read: {error.strerror or error}"
        reject(image_id, f"folder:{file.name}", "ingest", reason, layout)
        return TakenIn(file, image_id, reason)
    digest = hashlib.sha256(content).hexdigest()
    canonical = f"folder:{file.absolute()}:{digest}"
    image_id = image_id_of(mode, layout.scale, canonical)
    reference = ImageReference(
        image_id=image_id,
        url=file.absolute().as_uri(),
        source=f"folder:{file.name}",
        mode=mode,
        scale=layout.scale,
        requested_at=datetime.combine(layout.ingest_date, time(), UTC),
    )
    suffix = file.suffix.lower()
    low = storage.join(layout.low_resolution, image_id)
    try:
        if mode == "upscale":
            storage.write_bytes(f"{low}.json", reference.to_json().encode())
            storage.write_bytes(f"{low}{suffix}", content)
            return TakenIn(file, image_id)
        reduced, info = _reduced(file, processing, layout.scale)
    except ImageRejectedError as error:
        reject(image_id, reference.source, "ingest", str(error), layout)
        return TakenIn(file, image_id, str(error))
    storage.write_bytes(storage.join(layout.high_resolution, f"{image_id}{suffix}"), content)
    storage.write_bytes(f"{low}.json", reference.to_json().encode())
    with storage.staged(f"{low}.png") as path:
        encode_png([reduced], info, path)
    return TakenIn(file, image_id)


def _reduced(file: Path, processing: Processing, scale: int) -> tuple[Planes, ImageInfo]:
    """The low-resolution image of an original, which may be larger than an input by the scale."""
    limits = processing.limits
    original = decode_file(file, Limits(limits.max_bytes, limits.max_pixels * scale**2))
    info = original.info
    if min(info.width, info.height) < scale:
        raise ImageRejectedError(
            f"{info.width} x {info.height} pixels cannot be reduced by {scale}; send a larger one"
        )
    reduced = reduce_planes(original.planes(), scale)
    height, width = reduced.shape[1:]
    return reduced, ImageInfo(width, height, info.channels, info.bit_depth)

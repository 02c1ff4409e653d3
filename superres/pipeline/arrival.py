"""Stores images and their references where the jobs find them; for ingestion and local runs."""

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from superres.errors import ImageRejectedError
from superres.imaging.colour import Planes
from superres.imaging.decoding import check, decode, decode_file
from superres.imaging.files import sha256_of
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.names import readable, utf8_alias
from superres.imaging.png import encode_png
from superres.imaging.resample import reduce_planes
from superres.pipeline import storage
from superres.pipeline.config import Processing
from superres.pipeline.layout import Layout
from superres.pipeline.records import ImageReference, Mode, RejectedImage, image_id_of
from superres.pipeline.source_path import path_of_file
from superres.pipeline.storage import StoredFile


def store_image(
    content: bytes | Path, reference: ImageReference, layout: Layout, processing: Processing
) -> None:
    """Stores an image (its bytes, or a file with them) and its reference, by the mode.

    Mode ``upscale``: stores the image as the low resolution. Mode ``evaluate``: stores it as the
    original, with its bicubic reduction as the low resolution; it may exceed the limits by the
    scale. The low resolution is written last: where it exists, everything does.

    Storing an image again changes nothing, unless its content now has another format: then both
    files stay, and ``newest_of_each`` chooses one. (If two processes that store at the same time
    deleted each other's file, none would be left, and on S3 a deletion is one more request.)

    Raises ``ImageRejectedError`` with the reason when this is no image within the limits, and
    ``StorageError`` when it cannot be stored.
    """
    aliased = utf8_alias(content) if isinstance(content, Path) else nullcontext(content)
    with aliased as content:
        _store(content, reference, layout, processing)


def _store(
    content: bytes | Path, reference: ImageReference, layout: Layout, processing: Processing
) -> None:
    low = layout.low_resolution_of(reference)
    record = reference.to_json().encode()
    if reference.mode == "upscale":
        suffix = check(content, processing.limits)
        _write(f"{low}.{suffix}", content, _keep_record(f"{low}.{suffix}", record))
        return
    suffix, reduced, info = _reduced(content, processing, layout.scale)
    _write(storage.join(layout.high_resolution, f"{reference.image_id}.{suffix}"), content)
    with storage.staged(f"{low}.png", _keep_record(f"{low}.png", record)) as path:
        encode_png([reduced], info, path)


def newest_of_each(files: Iterable[StoredFile]) -> dict[str, StoredFile]:
    """The newest file of each image_id: an image may be stored in two formats."""
    newest: dict[str, StoredFile] = {}
    for file in files:
        known = newest.get(file.stem)
        if known is None or (file.modified, file.uri) > (known.modified, known.uri):
            newest[file.stem] = file
    return newest


def reference_of(low_resolution: str) -> ImageReference | None:
    """The reference stored with the low-resolution image at this URI; None when there is none.

    Raises ``RecordError`` when it cannot be read.
    """
    metadata = storage.read_metadata(low_resolution)
    if metadata is not None:
        return ImageReference.from_json(metadata, low_resolution)
    beside = _beside(low_resolution)
    if not storage.exists(beside):
        return None
    return ImageReference.from_json(storage.read_bytes(beside), beside)


def _keep_record(low_resolution: str, record: bytes) -> bytes | None:
    """Stores the reference beside its image, or returns it to become the image's metadata.

    On S3 a request takes longer than the bytes of a photograph, and costs money.
    """
    if storage.fits_metadata(low_resolution, record):
        return record
    storage.write_new(_beside(low_resolution), record)
    return None


def _beside(low_resolution: str) -> str:
    return f"{low_resolution.rpartition('.')[0]}.json"


def _write(uri: str, content: bytes | Path, metadata: bytes | None = None) -> None:
    if isinstance(content, Path):
        storage.write_file(uri, content, metadata)
    else:
        storage.write_bytes(uri, content, metadata)


def reference_to_file(
    file: Path, mode: Mode, scale: int, requested_at: datetime, path_below: str | None = None
) -> ImageReference:
    """A reference to a file on this machine; its id depends on the path and the content.

    ``path_below`` is the file's path below the source; None: its name.

    Raises ``StorageError`` when it is no file, or cannot be read.
    """
    path = file.absolute()
    digest = sha256_of(path)
    return ImageReference(
        image_id=image_id_of(mode, scale, f"folder:{path}:{digest}"),
        url=path.as_uri(),
        source=source_of(path),
        mode=mode,
        scale=scale,
        requested_at=requested_at,
        path=path_below or path_of_file(file),
    )


def source_of(file: Path) -> str:
    """What records name as the source of a file on this machine."""
    return f"folder:{readable(file.name)}"


def reject_arrival(
    image_id: str, source: str, reason: str, layout: Layout, path: str | None = None
) -> RejectedImage:
    """Records that an image could not be fetched, read or allowed; returns the record."""
    record = RejectedImage(
        image_id=image_id,
        source=source,
        stage="ingest",
        reason=reason,
        rejected_at=datetime.now(UTC),
        path=path,
    )
    storage.write_bytes(layout.arrival_rejection(image_id), record.to_json().encode())
    return record


def _reduced(
    content: bytes | Path, processing: Processing, scale: int
) -> tuple[str, Planes, ImageInfo]:
    """The original's suffix, its bicubic reduction, and size, channels and depth of that."""
    limits = Limits(processing.limits.max_bytes, processing.limits.max_pixels * scale**2)
    if isinstance(content, Path):
        original = decode_file(content, limits)
    else:
        original = decode(content, limits)
    info = original.info
    if min(info.width, info.height) < scale:
        raise ImageRejectedError(
            f"{info.width} x {info.height} pixels cannot be reduced by {scale}; use a larger image"
        )
    reduced = reduce_planes(original.planes(), scale)
    height, width = reduced.shape[1:]
    return original.suffix, reduced, ImageInfo(width, height, info.channels, info.bit_depth)

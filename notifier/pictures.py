"""Pictures of finished images: stored ones, and those derived from them for browsers.

Derived pictures are cached in files under ``notifier.cache_dir``, which may be emptied at any time:
a missing picture is made again. File names contain the version of the image.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Literal, get_args

from notifier import drawing
from superres.errors import ImageRejectedError, StorageError, SuperresError
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.imaging.public_copy.writing import COPIED_SUFFIXES, write_public_copy
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.records import Evaluation, StoredImage

StoredKind = Literal["result", "original", "low"]
Kind = Literal["result", "original", "low", "bicubic", "difference"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WIDTHS = (320, 640, 1280)
"""Widths of thumbnails, in pixels."""
MAX_DERIVED_PIXELS = 40_000_000
"""Larger results get no full-size pictures: that takes seconds and hundreds of megabytes."""

_NOT_FOR_BROWSERS = ("tif", "tiff")


class NoPictureError(SuperresError):
    """The image has no such picture; the message is safe to show to anybody."""


class GonePictureError(SuperresError):
    """The stored file of a picture no longer exists; the message is safe to show, too."""


def version_of(image: Evaluation) -> str:
    """Identifies everything that the pictures of an image depend on."""
    uris = [stored and stored.uri for stored in (image.result, image.original)]
    content = f"{image.finished_at.isoformat()}\n{uris}\n{image.low_resolution.uri}"
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def is_derived(image: Evaluation) -> bool:
    """Whether full-size pictures are derived from this image."""
    return image.result.width * image.result.height <= MAX_DERIVED_PIXELS


def stored_image(image: Evaluation, kind: StoredKind) -> StoredImage:
    """Returns a stored picture; raises ``NoPictureError`` if the image has none of this kind."""
    found = {"result": image.result, "original": image.original, "low": image.low_resolution}[kind]
    if found is None:
        raise NoPictureError("this image has no original: its mode is upscale")
    return found


def stored_uri(image: Evaluation, kind: StoredKind, settings: Settings) -> str:
    """Returns the location of a stored picture, which must be in a configured folder.

    A record that names any other file or bucket is forged: raises ``NoPictureError``.
    """
    uri = stored_image(image, kind).uri
    dataset = settings.dataset
    roots = (
        dataset.reconstructed_images_dir,
        dataset.high_resolution_dir,
        dataset.low_resolution_dir,
    )
    if not any(_is_inside(uri, root) for root in roots):
        raise NoPictureError("its record names a file outside the configured folders")
    return uri if storage.is_s3(uri) else storage.absolute(uri)


def _is_inside(uri: str, root: str) -> bool:
    if storage.is_s3(uri) != storage.is_s3(root):
        return False
    if storage.is_s3(uri):
        parts = uri.removeprefix(storage.S3).split("/")
        return uri.startswith(f"{root.rstrip('/')}/") and not {"", ".", ".."} & set(parts)
    try:
        # Symbolic links are resolved: their target must be inside, too.
        return Path(uri).expanduser().resolve().is_relative_to(Path(root).expanduser().resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def stored_kind(
    image: Evaluation, kind: Kind, width: int | None, *, unchanged: bool
) -> StoredKind | None:
    """Returns the kind of a picture that is sent as stored; None for one that is derived.

    Formats that browsers do not show are converted, unless the file is wanted ``unchanged``.
    """
    if width is not None or kind == "bicubic" or kind == "difference":
        return None
    if kind == "original" and image.original and not unchanged:
        return None if _needs_conversion(image.original.uri) else kind
    return kind


def may_have_metadata(image: Evaluation, kind: StoredKind) -> bool:
    """Whether a stored picture may say who took it, and where.

    So may a file as somebody gave it. What we made ourselves as PNG has pixels and nothing else.
    """
    if kind == "original" or (kind == "low" and image.mode == "upscale"):
        return True
    return not stored_image(image, kind).uri.lower().endswith(".png")


class Pictures:
    """A cache of derived pictures, shared by any number of threads and processes.

    It holds at most ``max_bytes``, or one picture that is larger; the least recently used pictures
    are deleted first.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder.absolute()
        self._max_bytes = max_bytes
        # One per processor: more would be slower and use more memory.
        self._turns = BoundedSemaphore(max(2, os.cpu_count() or 1))
        self._lock = Lock()
        self._making: dict[str, tuple[Lock, int]] = {}
        self._added: int | None = None  # bytes since the last clean-up

    def file(self, image: Evaluation, kind: Kind, width: int | None, settings: Settings) -> Path:
        """Returns the file of a derived picture, made now unless it is cached.

        Raises ``NoPictureError`` if it cannot be made of this image, ``GonePictureError`` if the
        stored file no longer exists, ``StorageError`` if it cannot be read.
        """
        if width is None or kind in ("bicubic", "difference"):
            _check_size(image)
        suffix = "png" if width is None else "webp"
        path = self._path(image, f"{kind}-{width or 'whole'}.{suffix}")
        if _touch(path):
            return path
        with self._locked(path.name):
            if _touch(path):  # another thread made it meanwhile
                return path
            if width is not None and kind in ("bicubic", "difference"):
                # The full-size picture is made first, outside this turn.
                whole = self.file(image, kind, None, settings)
                with self._turns, _named_errors():
                    self._write_thumbnail(path, whole, width, image, _limits(image, settings))
            else:
                with self._turns, _named_errors():
                    self._make(path, image, kind, width, settings)
        self._count(path)
        return path

    def public_copy(self, image: Evaluation, kind: StoredKind, settings: Settings) -> Path:
        """Returns the file of a stored picture without its metadata, as everybody may see it.

        It is a PNG where metadata cannot be removed from the format. Raises like ``file``.
        """
        suffix = stored_image(image, kind).uri.rpartition(".")[2].lower()
        if suffix not in COPIED_SUFFIXES:
            return self.file(image, kind, None, settings)
        path = self._path(image, f"{kind}-public.{suffix}")
        if _touch(path):
            return path
        with self._locked(path.name):
            if not _touch(path):
                with (
                    self._turns,
                    _named_errors(),
                    _local(image, kind, settings) as file,
                    storage.staged(str(path)) as unfinished,
                ):
                    write_public_copy(file, unfinished)
        self._count(path)
        return path

    def _path(self, image: Evaluation, name: str) -> Path:
        full = f"{image.result_id}-{version_of(image)}-{name}"
        return self._folder / image.image_id[:2] / full

    def _make(
        self, path: Path, image: Evaluation, kind: Kind, width: int | None, settings: Settings
    ) -> None:
        limits = _limits(image, settings)
        grey = bool(image.recipe and image.recipe.members.get("grayscale"))
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "bicubic":
            with _local(image, "low", settings) as low:
                decoded = decode_file(low, limits, grayscale=grey)
                drawing.draw_bicubic(decoded, image.scale, path, image.jpeg_quality)
        elif kind == "difference":
            other: StoredKind = "original" if image.original else "low"
            with _local(image, "result", settings) as ours, _local(image, other, settings) as file:
                result = decode_file(ours, limits)
                decoded = decode_file(file, limits)
                scale = None if image.original else image.scale
                drawing.draw_difference(result, decoded, scale, path)
        else:
            with _local(image, kind, settings) as file:
                if width is None:
                    drawing.draw_whole(file, limits, path)
                else:
                    self._write_thumbnail(path, file, width, image, limits, kind)

    def _write_thumbnail(
        self,
        path: Path,
        file: Path,
        width: int,
        image: Evaluation,
        limits: Limits,
        kind: Kind = "result",
    ) -> None:
        shown = image.low_resolution if kind == "low" else image.result
        content = drawing.thumbnail(file, width, limits, (shown.width, shown.height))
        storage.write_bytes(str(path), content)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Locks one picture in this process; two processes that make the same do no harm."""
        with self._lock:
            lock, users = self._making.get(name, (Lock(), 0))
            self._making[name] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._making[name]
                if users == 1:
                    del self._making[name]
                else:
                    self._making[name] = (lock, users - 1)

    def _count(self, made: Path) -> None:
        """Cleans up from time to time: often enough for sixteen processes to keep the limit."""
        try:
            size = made.stat().st_size
        except FileNotFoundError:
            return
        with self._lock:
            if self._added is not None:
                self._added += size
                if self._added < self._max_bytes // 100:
                    return
            self._added = 0
            _clean_up(self._folder, self._max_bytes, made)


def _clean_up(folder: Path, max_bytes: int, keep: Path) -> None:
    """Deletes the least recently used pictures until at most four fifths of the limit are used."""
    files = []
    for path in folder.rglob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            files.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in files)
    if total <= max_bytes * 4 // 5:
        return
    for _, size, path in sorted(files):
        if total <= max_bytes * 4 // 5:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size


def _touch(path: Path) -> bool:
    """Marks a picture as used just now; returns whether it exists."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{path}: cannot update its time: {error.strerror}") from None
    return True


def _check_size(image: Evaluation) -> None:
    if not is_derived(image):
        raise NoPictureError(
            f"this picture is limited to results of {MAX_DERIVED_PIXELS // 1_000_000} megapixels; "
            f"the result has {image.result.width * image.result.height / 1e6:.0f}"
        )


def _needs_conversion(uri: str) -> bool:
    return uri.rpartition(".")[2].lower() in _NOT_FOR_BROWSERS


def _limits(image: Evaluation, settings: Settings) -> Limits:
    """The configured limits, enlarged by the scale: a result is larger than its input."""
    given, area = settings.processing.limits, image.scale**2
    return Limits(given.max_bytes * area, (given.max_pixels + image.result.width) * area)


@contextmanager
def _local(image: Evaluation, kind: StoredKind, settings: Settings) -> Iterator[Path]:
    uri = stored_uri(image, kind, settings)
    check_exists(uri)
    with storage.local_copy(uri) as path:
        yield path


def check_exists(uri: str) -> None:
    """Raises ``GonePictureError`` if the file does not exist, ``StorageError`` if unknown."""
    if not storage.exists(uri):
        raise GonePictureError("its file is no longer stored; it may have expired")


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except ImageRejectedError as error:
        raise NoPictureError(f"the stored image cannot be shown: {error}") from None
    except OSError as error:
        raise StorageError(f"cannot write a picture: {error.strerror}") from error

"""Pictures of finished images: those that are stored, and those made of them for browsers.

What is made is kept in files under ``notifier.cache_dir`` and made again when it is gone, so the
folder may be emptied at any time. A file's name tells which version of an image it shows.
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
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.records import Evaluation, StoredImage

StoredKind = Literal["result", "original", "low"]
Kind = Literal["result", "original", "low", "bicubic", "difference"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WIDTHS = (320, 640, 1280)
"""Widths of thumbnails, in pixels."""
MADE_PIXELS = 40_000_000
"""Larger images are enlarged or compared for nobody: it takes seconds and hundreds of megabytes."""

_FOREIGN_TO_BROWSERS = ("tif", "tiff")


class NoPictureError(SuperresError):
    """A picture that this image does not have; the message may be shown to anybody."""


class GonePictureError(SuperresError):
    """A picture whose stored file is not there any more; likewise."""


def version_of(image: Evaluation) -> str:
    """What stands for everything that the pictures of an image are made from."""
    places = [stored and stored.uri for stored in (image.result, image.original)]
    told = f"{image.finished_at.isoformat()}\n{places}\n{image.low_resolution.uri}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def is_made(image: Evaluation) -> bool:
    """Whether pictures of its full size are made."""
    return image.result.width * image.result.height <= MADE_PIXELS


def stored_image(image: Evaluation, kind: StoredKind) -> StoredImage:
    """Where a stored picture lies; raises ``NoPictureError`` when there is none of the kind."""
    found = {"result": image.result, "original": image.original, "low": image.low_resolution}[kind]
    if found is None:
        raise NoPictureError("this image has no original: it was sent to be enlarged")
    return found


def stored_uri(image: Evaluation, kind: StoredKind, settings: Settings) -> str:
    """Where a stored picture lies, if that is a place where pictures lie.

    A record that names any other file of this machine, or another bucket, is forged. Raises
    ``NoPictureError``.
    """
    uri = stored_image(image, kind).uri
    dataset = settings.dataset
    roots = (
        dataset.reconstructed_images_dir,
        dataset.high_resolution_dir,
        dataset.low_resolution_dir,
    )
    if not any(_lies_in(uri, root) for root in roots):
        raise NoPictureError("its record names a file outside the configured folders")
    return uri if storage.is_s3(uri) else storage.absolute(uri)


def _lies_in(uri: str, root: str) -> bool:
    if storage.is_s3(uri) != storage.is_s3(root):
        return False
    if storage.is_s3(uri):
        parts = uri.removeprefix(storage.S3).split("/")
        return uri.startswith(f"{root.rstrip('/')}/") and not {"", ".", ".."} & set(parts)
    try:
        # Links are followed: what they lead to must lie there too.
        return Path(uri).expanduser().resolve().is_relative_to(Path(root).expanduser().resolve())
    except (OSError, ValueError, RuntimeError):
        return False


def stored_kind(
    image: Evaluation, kind: Kind, width: int | None, *, as_it_is: bool
) -> StoredKind | None:
    """The kind of a picture that is sent as it lies in storage; None for one that is made.

    Formats that browsers do not show are made into others, unless the file is wanted ``as_it_is``.
    """
    if width is not None or kind == "bicubic" or kind == "difference":
        return None
    if kind == "original" and image.original and _is_foreign(image.original.uri) and not as_it_is:
        return None
    return kind


class Pictures:
    """A folder of made pictures, for any number of threads and processes.

    It holds at most ``most_bytes``, or one picture that is larger; what was not asked for the
    longest goes first.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder.absolute()
        self._most_bytes = most_bytes
        # As many at once as there are processors: more would be slower, and take more memory.
        self._turns = BoundedSemaphore(max(2, os.cpu_count() or 1))
        self._lock = Lock()
        self._making: dict[str, tuple[Lock, int]] = {}
        self._added: int | None = None  # bytes since the folder was last looked through

    def file(self, image: Evaluation, kind: Kind, width: int | None, settings: Settings) -> Path:
        """A picture that is made: the file that holds it, made now if need be.

        Raises ``NoPictureError`` for one that cannot be made of this image, ``GonePictureError``
        when what it is made of is not there any more, ``StorageError`` when it cannot be read.
        """
        if width is None or kind in ("bicubic", "difference"):
            _check_size(image)
        suffix = "png" if width is None else "webp"
        version = version_of(image)
        name = f"{image.image_id}-{version}-{kind}-{width or 'whole'}.{suffix}"
        path = self._folder / image.image_id[:2] / name
        if _used(path):
            return path
        with self._alone(name):
            if _used(path):  # another thread made it meanwhile
                return path
            if width is not None and kind in ("bicubic", "difference"):
                # Its whole picture waits for a turn of its own.
                whole = self.file(image, kind, None, settings)
                with self._turns, _named_faults():
                    self._write_thumbnail(path, whole, width, image, _limits(image, settings))
            else:
                with self._turns, _named_faults():
                    self._make(path, image, kind, width, settings)
        self._count(path)
        return path

    def _make(
        self, path: Path, image: Evaluation, kind: Kind, width: int | None, settings: Settings
    ) -> None:
        limits = _limits(image, settings)
        grey = settings.processing.grayscale
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "bicubic":
            with _local(image, "low", settings) as low:
                decoded = decode_file(low, limits, grayscale=grey)
                drawing.draw_bicubic(decoded, image.scale, path)
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
    def _alone(self, name: str) -> Iterator[None]:
        """One maker at a time of a picture in this process; two processes do no harm."""
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
        """Clears up from time to time: often enough that sixteen processes keep the bound."""
        try:
            size = made.stat().st_size
        except FileNotFoundError:
            return
        with self._lock:
            if self._added is not None:
                self._added += size
                if self._added < self._most_bytes // 100:
                    return
            self._added = 0
            _clear_up(self._folder, self._most_bytes, made)


def _clear_up(folder: Path, most_bytes: int, spared: Path) -> None:
    """Deletes what was used longest ago until four fifths are full at most."""
    files = []
    for path in folder.rglob("*"):
        try:
            told = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            files.append((told.st_mtime_ns, told.st_size, path))
    total = sum(size for _, size, _ in files)
    if total <= most_bytes * 4 // 5:
        return
    for _, size, path in sorted(files):
        if total <= most_bytes * 4 // 5:
            return
        if path != spared:
            path.unlink(missing_ok=True)
            total -= size


def _used(path: Path) -> bool:
    """Whether there is such a picture; notes that it was asked for."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{path}: cannot be used: {error.strerror}") from None
    return True


def _check_size(image: Evaluation) -> None:
    if not is_made(image):
        raise NoPictureError(
            f"this picture is made of images up to {MADE_PIXELS // 1_000_000} megapixels; "
            f"the result has {image.result.width * image.result.height / 1e6:.0f}"
        )


def _is_foreign(uri: str) -> bool:
    return uri.rpartition(".")[2].lower() in _FOREIGN_TO_BROWSERS


def _limits(image: Evaluation, settings: Settings) -> Limits:
    """A result, like its original, is larger than the input by the scale, each way."""
    given, area = settings.processing.limits, image.scale**2
    return Limits(given.max_bytes * area, (given.max_pixels + image.result.width) * area)


@contextmanager
def _local(image: Evaluation, kind: StoredKind, settings: Settings) -> Iterator[Path]:
    uri = stored_uri(image, kind, settings)
    check_there(uri)
    with storage.local_copy(uri) as path:
        yield path


def check_there(uri: str) -> None:
    """Raises ``GonePictureError`` when nothing is stored there, ``StorageError`` for trouble."""
    if not storage.exists(uri):
        raise GonePictureError("its file is no longer stored; it may have expired")


@contextmanager
def _named_faults() -> Iterator[None]:
    try:
        yield
    except ImageRejectedError as error:
        raise NoPictureError(f"the stored image cannot be shown: {error}") from None
    except OSError as error:
        raise StorageError(f"cannot keep a picture: {error.strerror}") from error

"""Writes a file that appears whole or not at all, piece by piece."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from superres.imaging.costs import out_of_memory
from superres.imaging.files import unwritable
from superres.imaging.info import ImageInfo
from superres.imaging.names import unfinished_name
from superres.imaging.outline import Outline


class WholeFile:
    """A file that is being written; its errors name the folder and what to do."""

    def __init__(self, stream: BinaryIO, folder: Path) -> None:
        self._stream = stream
        self._folder = folder

    def write(self, content: bytes | memoryview) -> int:
        """Writes all of it; returns how many bytes that is."""
        with unwritable_named(self._folder):
            rest = memoryview(content)
            while rest:
                rest = rest[self._stream.write(rest) :]
        return len(content)

    def tell(self) -> int:
        """The position, in bytes."""
        return self._stream.tell()

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        """Moves to a position, in bytes."""
        return self._stream.seek(position, whence)

    def flush(self) -> None:
        """Nothing: nothing is held back."""


@contextmanager
def whole_file(path: Path, info: ImageInfo) -> Iterator[WholeFile]:
    """A file to write, which gets the name ``path`` at the end; after an exception it is deleted.

    Raises:
        StorageError: the file cannot be written.
        ImageRejectedError: there is not enough memory to make or encode the image.
    """
    unfinished = path.with_name(unfinished_name())
    with unwritable_named(path.parent):
        stream = unfinished.open("xb", buffering=0)
    try:
        with stream:
            yield WholeFile(stream, path.parent)
        with unwritable_named(path.parent):
            unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, MemoryError):
            outline = Outline(info.width, info.height, info.channels * info.dtype.itemsize)
            raise out_of_memory("making a result", outline) from None
        raise


@contextmanager
def unwritable_named(folder: Path) -> Iterator[None]:
    """Only around what is written: an error of the caller's iterator is the caller's."""
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error

"""What local folders and S3 have in common: the files, the functions, how their errors read."""

import errno
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from superres.errors import StorageError
from superres.imaging.files import remedy_for

S3 = "s3://"


@dataclass(frozen=True)
class StoredFile:
    """One file: its URI, size in bytes, ETag of its content (S3 only) and when it was written."""

    uri: str
    size: int
    etag: str = ""
    modified: float = field(default=0.0, compare=False)  # seconds since 1970

    @property
    def name(self) -> str:
        """The last part of the URI."""
        return self.uri.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return self.name.rsplit(".", 1)[0]


class Store(Protocol):
    """One kind of storage; the modules ``local`` and ``s3`` are the two there are.

    ``superres.pipeline.storage`` says what each function does, and chooses the store by the URI.
    """

    def read_bytes(self, uri: str) -> bytes:
        """The whole content."""

    def read_metadata(self, uri: str) -> bytes | None:
        """The metadata of an object."""

    def write_bytes(self, uri: str, content: bytes, metadata: bytes | None) -> None:
        """Creates or replaces an object."""

    def write_new(self, uri: str, content: bytes) -> None:
        """The same for a file that is read only after another one has been written."""

    def write_file(self, uri: str, file: Path, metadata: bytes | None) -> None:
        """The same with the content of a local file."""

    def size_of(self, uri: str) -> int | None:
        """The size in bytes; None where there is no such object."""

    def list_files(self, prefix: str, *, nested: bool) -> Iterator[StoredFile]:
        """All files below a folder or prefix, in any order, hidden ones too."""

    def delete(self, uri: str) -> None:
        """Deletes an object, if it exists."""

    def delete_tree(self, prefix: str) -> None:
        """Deletes a folder or prefix with all that is in it."""

    def local_copy(self, uri: str) -> AbstractContextManager[Path]:
        """A local path with the content."""

    def staged(self, uri: str, metadata: bytes | None) -> AbstractContextManager[Path]:
        """A path to write to."""


@contextmanager
def named_errors(uri: str, action: str) -> Iterator[None]:
    """Raises ``StorageError`` for ``OSError``: the URI, what failed, why and what to do."""
    try:
        yield
    except OSError as error:
        remedy = remedy_for(error) if action == "write" else ""
        reason = f"{error.strerror or error}{remedy and f'; {remedy}'}"
        raise StorageError(f"{uri}: cannot {action}: {reason}") from error


@contextmanager
def full_disk_named(uri: str) -> Iterator[None]:
    """Names the file where the caller's block meets a full disk; other errors are the caller's."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            with named_errors(uri, "write"):
                raise
        raise


def check_size(uri: str, written: int, expected: int) -> None:
    """Raises ``StorageError`` when a file has another size than what was written to it."""
    if written != expected:
        raise StorageError(
            f"{uri}: cannot write: {written} bytes are there, not {expected}; write it again"
        )


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The parts of a URI; raises ``StorageError`` when it has no bucket."""
    bucket, _, key = uri.removeprefix(S3).partition("/")
    if not bucket:
        raise StorageError(f"{uri}: names no bucket; write s3://bucket/key")
    return bucket, key

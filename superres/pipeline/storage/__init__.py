"""Files in local folders and objects in S3, addressed by a path or an ``s3://bucket/key`` URI.

Every write is atomic: a reader sees the whole object or none, and what was written is compared with
what is there. Local folders never need boto3.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from superres.errors import StorageError
from superres.pipeline.storage import local
from superres.pipeline.storage.store import S3, Store, StoredFile, bucket_and_key

__all__ = ["S3", "StoredFile"]

# S3 allows 2 KB of metadata, names included; base64 takes 4 bytes for 3.
_METADATA_BYTES = 1400


def join(base: str, *parts: str) -> str:
    """Appends path parts to a local path or an S3 URI."""
    return "/".join([base.rstrip("/"), *parts])


def is_s3(uri: str) -> bool:
    """Whether the URI is an object or prefix in S3."""
    return uri.startswith(S3)


def absolute(uri: str) -> str:
    """The same location for a process with another working directory, such as a Spark executor."""
    return uri if is_s3(uri) else str(Path(uri).expanduser().absolute())


def bucket_of(uri: str) -> str:
    """The bucket of an S3 URI; raises ``StorageError`` when it has none."""
    return bucket_and_key(uri)[0]


def read_bytes(uri: str) -> bytes:
    """The whole content; raises ``StorageError`` when it cannot be read."""
    return _store(uri).read_bytes(uri)


def fits_metadata(uri: str, metadata: bytes) -> bool:
    """Whether the object can have this metadata: only in S3, and if it is short enough."""
    return is_s3(uri) and len(metadata) <= _METADATA_BYTES


def read_metadata(uri: str) -> bytes | None:
    """The metadata of an object in S3; None when it has none."""
    return _store(uri).read_metadata(uri)


def write_bytes(uri: str, content: bytes, metadata: bytes | None = None) -> None:
    """Creates or replaces an object, atomically; ``metadata`` must pass ``fits_metadata``."""
    _store(uri).write_bytes(uri, content, metadata)


def write_new(uri: str, content: bytes) -> None:
    """Like ``write_bytes``, for a file that is read only after the writer has written another one.

    An unfinished file of a writer that died is replaced by the next writer.
    """
    _store(uri).write_new(uri, content)


def write_file(uri: str, file: Path, metadata: bytes | None = None) -> None:
    """Like ``write_bytes``, with the content of a local file."""
    _store(uri).write_file(uri, file, metadata)


def exists(uri: str) -> bool:
    """Whether there is an object of exactly this URI."""
    return size_of(uri) is not None


def size_of(uri: str) -> int | None:
    """The size in bytes of the object of exactly this URI; None when there is none."""
    return _store(uri).size_of(uri)


def list_files(prefix: str, *, hidden: bool = False, nested: bool = True) -> list[StoredFile]:
    """All files below a folder or S3 prefix, sorted by URI; empty when there are none.

    As in Spark, hidden and half-written files (a name or folder beginning with ``.`` or ``_``) are
    left out, unless ``hidden`` is set. Without ``nested``, so are those in folders below it.
    """
    found = _store(prefix).list_files(prefix, nested=nested)
    base = (prefix if is_s3(prefix) else str(Path(prefix))).rstrip("/") + "/"
    files = [file for file in found if hidden or not _is_hidden(file.uri.removeprefix(base))]
    return sorted(files, key=lambda file: file.uri)


def delete(uri: str) -> None:
    """Deletes an object, if it exists."""
    _store(uri).delete(uri)


def delete_tree(prefix: str) -> None:
    """Deletes a folder or everything under an S3 prefix, if it exists."""
    _store(prefix).delete_tree(prefix)


def presigned(
    uri: str, seconds: int, filename: str | None = None, content_type: str | None = None
) -> str:
    """A URL that allows anyone to read an object in S3 for ``seconds``.

    With ``filename`` (ASCII), browsers save the object under that name; ``content_type`` is its
    Content-Type. Does not call S3, so the object may not exist. Raises ``StorageError`` for a local
    path, and when there are no credentials to sign with.
    """
    if not is_s3(uri):
        raise StorageError(f"{uri}: only objects in S3 have signed URLs")
    from superres.pipeline.storage import s3

    return s3.presigned(uri, seconds, filename, content_type)


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """A local path with the content: the file itself, or a temporary copy of the S3 object."""
    with _store(uri).local_copy(uri) as path:
        yield path


@contextmanager
def staged(uri: str, metadata: bytes | None = None) -> Iterator[Path]:
    """A path to write to; the file appears at ``uri`` only if the block ends without exception."""
    with _store(uri).staged(uri, metadata) as path:
        yield path


def _store(uri: str) -> Store:
    if is_s3(uri):
        from superres.pipeline.storage import s3

        return s3
    return local


def _is_hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.split("/"))

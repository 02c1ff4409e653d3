"""Files in local folders and objects in S3, addressed by a path or an ``s3://bucket/key`` URI.

Every write is atomic: a reader sees the whole object or none. The S3 client is made on first use,
so local folders never need boto3. Credentials, region and endpoint come from the environment, as
for every AWS client.
"""

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Literal

from superres.errors import StorageError
from superres.imaging.files import remedy_for
from superres.imaging.names import unfinished_name

S3 = "s3://"
# S3 allows 2 KB of metadata, names included; base64 takes 4 bytes for 3.
_METADATA_KEY, _METADATA_BYTES = "note", 1400
_making_client = Lock()


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
    return _bucket_and_key(uri)[0]


def read_bytes(uri: str) -> bytes:
    """The whole content; raises ``StorageError`` when it cannot be read."""
    with _named_errors(uri, "read"):
        if is_s3(uri):
            bucket, key = _bucket_and_key(uri)
            return bytes(_s3().get_object(Bucket=bucket, Key=key)["Body"].read())
        return Path(uri).read_bytes()


def fits_metadata(uri: str, metadata: bytes) -> bool:
    """Whether the object can have this metadata: only in S3, and if it is short enough."""
    return is_s3(uri) and len(metadata) <= _METADATA_BYTES


def read_metadata(uri: str) -> bytes | None:
    """The metadata of an object in S3; None when it has none."""
    if not is_s3(uri):
        return None
    bucket, key = _bucket_and_key(uri)
    with _named_errors(uri, "look up"):
        if size_of(uri) is None:
            return None
        found = _s3().head_object(Bucket=bucket, Key=key)["Metadata"]
        return base64.b64decode(found[_METADATA_KEY]) if _METADATA_KEY in found else None


def write_bytes(uri: str, content: bytes, metadata: bytes | None = None) -> None:
    """Creates or replaces an object, atomically; ``metadata`` must pass ``fits_metadata``."""
    with _named_errors(uri, "write"):
        if is_s3(uri):
            bucket, key = _bucket_and_key(uri)
            _s3().put_object(Bucket=bucket, Key=key, Body=content, **_metadata_arguments(metadata))
            return
        temporary = _temporary(uri)
        try:
            with _created(temporary) as stream:
                stream.write(content)
            os.replace(temporary, uri)  # noqa: PTH105  # Path costs as much as the rename
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def write_new(uri: str, content: bytes) -> None:
    """Like ``write_bytes``, for a file that is read only after the writer has written another one.

    A new local file is written without a temporary name, which halves the cost. An unfinished file
    of a writer that died is replaced by the next writer.
    """
    if is_s3(uri):
        write_bytes(uri, content)
        return
    try:
        with _named_errors(uri, "write"), _created(uri) as stream:
            stream.write(content)
    except StorageError as error:
        if not isinstance(error.__cause__, FileExistsError):
            raise
        write_bytes(uri, content)


def write_file(uri: str, file: Path, metadata: bytes | None = None) -> None:
    """Like ``write_bytes``, with the content of a local file."""
    with _named_errors(uri, "write"):
        if is_s3(uri):
            bucket, key = _bucket_and_key(uri)
            _s3().upload_file(str(file), bucket, key, ExtraArgs=_metadata_arguments(metadata))
            return
        with staged(uri) as path:
            shutil.copyfile(file, path)


def exists(uri: str) -> bool:
    """Whether there is an object of exactly this URI."""
    return size_of(uri) is not None


def size_of(uri: str) -> int | None:
    """The size in bytes of the object of exactly this URI; None when there is none."""
    with _named_errors(uri, "look up"):
        if not is_s3(uri):
            path = Path(uri)
            return path.stat().st_size if path.is_file() else None
        bucket, key = _bucket_and_key(uri)
        # A listing distinguishes an absent object from denied access; HeadObject's 403 does not.
        found = _s3().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        sizes = (entry["Size"] for entry in found.get("Contents", []) if entry["Key"] == key)
        return next(sizes, None)


def list_files(prefix: str, *, hidden: bool = False, nested: bool = True) -> list[StoredFile]:
    """All files below a folder or S3 prefix, sorted by URI; empty when there are none.

    As in Spark, hidden and half-written files (a name or folder beginning with ``.`` or ``_``) are
    left out, unless ``hidden`` is set. Without ``nested``, so are those in folders below it.
    """
    with _named_errors(prefix, "list"):
        found = (_list_s3 if is_s3(prefix) else _list_local)(prefix, nested=nested)
        base = (prefix if is_s3(prefix) else str(Path(prefix))).rstrip("/") + "/"
        files = [file for file in found if hidden or not _is_hidden(file.uri.removeprefix(base))]
    return sorted(files, key=lambda file: file.uri)


def delete(uri: str) -> None:
    """Deletes an object, if it exists."""
    with _named_errors(uri, "delete"):
        if is_s3(uri):
            bucket, key = _bucket_and_key(uri)
            _s3().delete_object(Bucket=bucket, Key=key)
        else:
            Path(uri).unlink(missing_ok=True)


def delete_tree(prefix: str) -> None:
    """Deletes a folder or everything under an S3 prefix, if it exists."""
    with _named_errors(prefix, "delete"):
        if not is_s3(prefix):
            # Another process may delete files at the same time.
            while Path(prefix).exists():
                with suppress(FileNotFoundError):
                    shutil.rmtree(prefix)
            return
        bucket, key = _bucket_and_folder(prefix)
        for page in _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if keys:
                _s3().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


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
    bucket, key = _bucket_and_key(uri)
    wanted = {"Bucket": bucket, "Key": key}
    if filename is not None:
        wanted["ResponseContentDisposition"] = f'attachment; filename="{filename}"'
    if content_type is not None:
        wanted["ResponseContentType"] = content_type
    with _named_errors(uri, "sign"):
        signer = _signing_client()
        return str(signer.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds))


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """A local path with the content: the file itself, or a temporary copy of the S3 object."""
    if not is_s3(uri):
        if not Path(uri).is_file():
            raise StorageError(f"{uri}: no such file")
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory(prefix="superres-") as folder:
        path = Path(folder) / "object"
        with _named_errors(uri, "read"):
            bucket, key = _bucket_and_key(uri)
            _s3().download_file(bucket, key, str(path))
        yield path


@contextmanager
def staged(uri: str, metadata: bytes | None = None) -> Iterator[Path]:
    """A path to write to; the file appears at ``uri`` only if the block ends without exception."""
    if is_s3(uri):
        with tempfile.TemporaryDirectory(prefix="superres-") as folder:
            path = Path(folder) / "object"
            yield path
            with _named_errors(uri, "write"):
                bucket, key = _bucket_and_key(uri)
                _s3().upload_file(str(path), bucket, key, ExtraArgs=_metadata_arguments(metadata))
        return
    target, temporary = Path(uri), Path(_temporary(uri))
    with _named_errors(uri, "write"):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        with _named_errors(uri, "write"):
            temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(uri: str) -> str:
    """A hidden path in the same folder."""
    folder, _ = os.path.split(uri)
    return os.path.join(folder, unfinished_name())  # noqa: PTH118  # see write_bytes


def _created(path: str) -> BinaryIO:
    """Opens a new file, and makes its folder if necessary."""
    try:
        return open(path, "xb")  # noqa: PTH123  # closed by the caller
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(path, "xb")  # noqa: PTH123


def _metadata_arguments(metadata: bytes | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    # S3 allows only ASCII there.
    return {"Metadata": {_METADATA_KEY: base64.b64encode(metadata).decode()}}


def _list_local(prefix: str, *, nested: bool) -> Iterator[StoredFile]:
    for folder, folders, names in os.walk(prefix, onerror=_raise_unless_gone):
        if not nested:
            folders.clear()  # os.walk goes into those that are left
        for name in names:
            path = Path(folder) / name
            with suppress(FileNotFoundError):  # another process may just have renamed it
                found = path.stat()
                yield StoredFile(str(path), found.st_size, modified=found.st_mtime)


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _list_s3(prefix: str, *, nested: bool) -> Iterator[StoredFile]:
    bucket, key = _bucket_and_folder(prefix)
    within = {} if nested else {"Delimiter": "/"}
    pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key, **within)
    for page in pages:
        for entry in page.get("Contents", []):
            uri = f"{S3}{bucket}/{entry['Key']}"
            written = entry["LastModified"].timestamp()
            yield StoredFile(uri, entry["Size"], entry["ETag"].strip('"'), written)


def _is_hidden(relative: str) -> bool:
    return any(part.startswith((".", "_")) for part in relative.split("/"))


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix(S3).partition("/")
    if not bucket:
        raise StorageError(f"{uri}: names no bucket; write s3://bucket/key")
    return bucket, key


def _bucket_and_folder(prefix: str) -> tuple[str, str]:
    bucket, key = _bucket_and_key(prefix)
    key = key.rstrip("/")
    return bucket, f"{key}/" if key else ""


def _s3() -> Any:
    with _making_client:  # boto3's default session must not be made in two threads at once
        return _s3_client()


@cache
def _s3_client() -> Any:
    import boto3
    from botocore.config import Config

    # Enough connections for the threads of ingestion; with the default of 10 they would wait.
    return boto3.client("s3", config=Config(max_pool_connections=64))


def _signing_client() -> Any:
    with _making_client:
        return _signing_s3_client()


@cache
def _signing_s3_client() -> Any:
    import boto3
    from botocore.config import Config

    # Version 4, because KMS accepts no older signature. The region's own endpoint, because the
    # global one redirects requests for a new bucket, and a signature is invalid after a redirect.
    endpoint = _s3_client().meta.endpoint_url
    style: Literal["virtual", "path"] = "virtual" if "amazonaws.com" in endpoint else "path"
    config = Config(signature_version="s3v4", s3={"addressing_style": style})
    return boto3.client("s3", endpoint_url=endpoint, config=config)


@contextmanager
def _named_errors(uri: str, action: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        remedy = remedy_for(error) if action == "write" else ""
        reason = f"{error.strerror or error}{remedy and f'; {remedy}'}"
        raise StorageError(f"{uri}: cannot {action}: {reason}") from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("botocore", "boto3", "s3transfer"):
            raise
        reason = " ".join(str(error).split())
        raise StorageError(f"{uri}: cannot {action}: {reason}") from error

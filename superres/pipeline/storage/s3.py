"""Objects in S3. Every upload carries a checksum, which S3 compares with what it has received.

The clients are made on first use. Credentials, region and endpoint come from the environment, as
for every AWS client.
"""

import base64
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from superres.errors import StorageError
from superres.pipeline.storage.store import (
    S3,
    StoredFile,
    bucket_and_key,
    full_disk_named,
    named_errors,
)

_METADATA_KEY = "note"
# boto3 uploads larger files in parts, each with a checksum of its own.
_WHOLE_BYTES = 8 << 20
_making_client = Lock()


def read_bytes(uri: str) -> bytes:
    """As ``storage.read_bytes``; the content is compared with the object's checksum."""
    bucket, key = bucket_and_key(uri)
    with _named_errors(uri, "read"):
        return bytes(client().get_object(Bucket=bucket, Key=key)["Body"].read())


def read_metadata(uri: str) -> bytes | None:
    """As ``storage.read_metadata``."""
    if size_of(uri) is None:
        return None
    bucket, key = bucket_and_key(uri)
    with _named_errors(uri, "look up"):
        found = client().head_object(Bucket=bucket, Key=key)["Metadata"]
        return base64.b64decode(found[_METADATA_KEY]) if _METADATA_KEY in found else None


def write_bytes(uri: str, content: bytes, metadata: bytes | None) -> None:
    """As ``storage.write_bytes``; checks that S3 answers with the checksum of the content."""
    bucket, key = bucket_and_key(uri)
    checksum = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    with _named_errors(uri, "write"):
        answer = client().put_object(
            Bucket=bucket,
            Key=key,
            Body=content,
            ChecksumCRC32=checksum,
            **_metadata_arguments(metadata),
        )
    stored = answer.get("ChecksumCRC32", checksum)  # what only imitates S3 may not return it
    if stored != checksum:
        raise StorageError(
            f"{uri}: cannot write: what is stored has the checksum {stored}, not {checksum}; "
            "write it again"
        )


def write_new(uri: str, content: bytes) -> None:
    """As ``storage.write_new``."""
    write_bytes(uri, content, None)


def write_file(uri: str, file: Path, metadata: bytes | None) -> None:
    """As ``storage.write_file``."""
    with named_errors(uri, "write"):
        whole = file.read_bytes() if file.stat().st_size <= _WHOLE_BYTES else None
    if whole is not None:
        write_bytes(uri, whole, metadata)
        return
    bucket, key = bucket_and_key(uri)
    with _named_errors(uri, "write"):
        client().upload_file(str(file), bucket, key, ExtraArgs=_metadata_arguments(metadata))


def size_of(uri: str) -> int | None:
    """As ``storage.size_of``."""
    bucket, key = bucket_and_key(uri)
    with _named_errors(uri, "look up"):
        # A listing distinguishes an absent object from denied access; HeadObject's 403 does not.
        found = client().list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        sizes = (entry["Size"] for entry in found.get("Contents", []) if entry["Key"] == key)
        return next(sizes, None)


def list_files(prefix: str, *, nested: bool) -> Iterator[StoredFile]:
    """As ``storage.list_files``, in any order."""
    bucket, key = _bucket_and_folder(prefix)
    within = {} if nested else {"Delimiter": "/"}
    with _named_errors(prefix, "list"):
        pages = (
            client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key, **within)
        )
        for page in pages:
            for entry in page.get("Contents", []):
                uri = f"{S3}{bucket}/{entry['Key']}"
                written = entry["LastModified"].timestamp()
                yield StoredFile(uri, entry["Size"], entry["ETag"].strip('"'), written)


def delete(uri: str) -> None:
    """As ``storage.delete``."""
    bucket, key = bucket_and_key(uri)
    with _named_errors(uri, "delete"):
        client().delete_object(Bucket=bucket, Key=key)


def delete_tree(prefix: str) -> None:
    """As ``storage.delete_tree``."""
    bucket, key = _bucket_and_folder(prefix)
    with _named_errors(prefix, "delete"):
        for page in client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
            keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
            if keys:
                client().delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


def presigned(uri: str, seconds: int, filename: str | None, content_type: str | None) -> str:
    """As ``storage.presigned``."""
    bucket, key = bucket_and_key(uri)
    wanted = {"Bucket": bucket, "Key": key}
    if filename is not None:
        wanted["ResponseContentDisposition"] = f'attachment; filename="{filename}"'
    if content_type is not None:
        wanted["ResponseContentType"] = content_type
    with _named_errors(uri, "sign"):
        signer = signing_client()
        return str(signer.generate_presigned_url("get_object", Params=wanted, ExpiresIn=seconds))


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """A temporary copy of the object."""
    bucket, key = bucket_and_key(uri)
    with tempfile.TemporaryDirectory(prefix="superres-") as folder:
        path = Path(folder) / "object"
        with _named_errors(uri, "read"):
            client().download_file(bucket, key, str(path))
        yield path


@contextmanager
def staged(uri: str, metadata: bytes | None) -> Iterator[Path]:
    """As ``storage.staged``."""
    with tempfile.TemporaryDirectory(prefix="superres-") as folder:
        path = Path(folder) / "object"
        with full_disk_named(folder):
            yield path
        write_file(uri, path, metadata)


def client() -> Any:
    """The client for all but signing; ``forget_clients`` ends it."""
    with _making_client:  # boto3's default session must not be made in two threads at once
        return _client()


def signing_client() -> Any:
    """The client that signs URLs."""
    with _making_client:
        return _signing_client()


def forget_clients() -> None:
    """Makes new clients at the next use, such as after a change of endpoint or credentials."""
    _client.cache_clear()
    _signing_client.cache_clear()


@cache
def _client() -> Any:
    # Enough connections for the threads of ingestion; with the default of 10 they would wait.
    config = Config(
        max_pool_connections=64,
        # Said here because the environment may turn them off.
        request_checksum_calculation="when_supported",
        response_checksum_validation="when_supported",
    )
    return boto3.client("s3", config=config)


@cache
def _signing_client() -> Any:
    # Version 4, because KMS accepts no older signature. The region's own endpoint, because the
    # global one redirects requests for a new bucket, and a signature is invalid after a redirect.
    endpoint = _client().meta.endpoint_url
    style: Literal["virtual", "path"] = "virtual" if "amazonaws.com" in endpoint else "path"
    config = Config(signature_version="s3v4", s3={"addressing_style": style})
    return boto3.client("s3", endpoint_url=endpoint, config=config)


def _metadata_arguments(metadata: bytes | None) -> dict[str, Any]:
    if metadata is None:
        return {}
    # S3 allows only ASCII there.
    return {"Metadata": {_METADATA_KEY: base64.b64encode(metadata).decode()}}


def _bucket_and_folder(prefix: str) -> tuple[str, str]:
    bucket, key = bucket_and_key(prefix)
    key = key.rstrip("/")
    return bucket, f"{key}/" if key else ""


@contextmanager
def _named_errors(uri: str, action: str) -> Iterator[None]:
    try:
        with named_errors(uri, action):
            yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        reason = " ".join(str(error).split())
        raise StorageError(f"{uri}: cannot {action}: {reason}") from error

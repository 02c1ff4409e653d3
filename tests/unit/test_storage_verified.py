"""What is written is compared with what is there: sizes on local folders, checksums on S3."""

import base64
import errno
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from superres.errors import StorageError
from superres.pipeline import storage
from superres.pipeline.storage import s3

CONTENT = b"twelve bytes"
CHECKSUM = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()
PUT = {"Bucket": "bucket", "Key": "key", "Body": CONTENT, "ChecksumCRC32": CHECKSUM}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """The requests that S3 gets, each of which must be expected."""
    client = boto3.client(
        "s3", region_name="eu-central-1", aws_access_key_id="id", aws_secret_access_key="secret"
    )
    monkeypatch.setattr(s3, "client", lambda: client)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_an_object_is_sent_with_its_checksum_in_one_request(requests: Stubber) -> None:
    requests.add_response("put_object", {"ChecksumCRC32": CHECKSUM}, PUT)
    storage.write_bytes("s3://bucket/key", CONTENT)


def test_an_answer_without_a_checksum_is_believed(requests: Stubber) -> None:
    requests.add_response("put_object", {"ETag": '"x"'}, PUT)
    storage.write_bytes("s3://bucket/key", CONTENT)


def test_an_object_that_is_stored_with_another_checksum_is_an_error(requests: Stubber) -> None:
    requests.add_response("put_object", {"ChecksumCRC32": "AAAAAA=="}, PUT)
    with pytest.raises(StorageError, match=r"^s3://bucket/key: cannot write: .* write it again$"):
        storage.write_bytes("s3://bucket/key", CONTENT)


def test_a_checksum_that_s3_refuses_is_an_error(requests: Stubber) -> None:
    requests.add_client_error("put_object", "BadDigest", "did not match what we received")
    with pytest.raises(StorageError, match=r"^s3://bucket/key: cannot write: .*BadDigest"):
        storage.write_bytes("s3://bucket/key", CONTENT)


def test_a_small_result_is_one_request_with_its_metadata(requests: Stubber) -> None:
    requests.add_response("put_object", {"ChecksumCRC32": CHECKSUM}, PUT | {"Metadata": ANY})
    with storage.staged("s3://bucket/key", b"a note") as path:
        path.write_bytes(CONTENT)


def test_a_client_sends_and_checks_checksums_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    s3.forget_clients()
    try:
        config = s3.client().meta.config
    finally:
        s3.forget_clients()
    assert config.request_checksum_calculation == "when_supported"
    assert config.response_checksum_validation == "when_supported"


@pytest.mark.parametrize("write", [storage.write_bytes, storage.write_new])
def test_a_local_file_that_is_short_is_an_error_and_removed(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.local._created

    def losing(path: str) -> Any:
        stream = real(path)
        monkeypatch.setattr("os.fstat", lambda _: Path(__file__).stat())
        return stream

    monkeypatch.setattr(storage.local, "_created", losing)
    with pytest.raises(StorageError, match=r"x: cannot write: \d+ bytes are there, not 12; write"):
        write(str(tmp_path / "x"), CONTENT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_while_a_file_is_made_names_the_file(code: int, tmp_path: Path) -> None:
    uri = str(tmp_path / "all.zip")
    with pytest.raises(StorageError, match=r"all\.zip: cannot write: .*; (free|raise)"):  # noqa: SIM117
        with storage.staged(uri):
            raise OSError(code, os.strerror(code))
    assert list(tmp_path.iterdir()) == []


def test_another_error_while_a_file_is_made_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), storage.staged(str(tmp_path / "x")):
        raise ConnectionResetError

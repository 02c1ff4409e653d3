"""Fetching what references point to: files, objects in S3 and URLs; when to retry."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from ingestion.consumer.fetching import Fetcher, fetcher_of
from ingestion.retries import FetchError, backoff_seconds, error_of_status
from superres.errors import ForbiddenUrlError, ImageRejectedError, StorageError
from superres.pipeline import storage
from superres.pipeline.config_file import validated
from superres.pipeline.storage.s3 import forget_clients
from superres.redaction import SecretUrl
from superres.service.public_http import Client
from superres.service.supervisor import free_port
from tests.support.http_server import HttpServer
from tests.support.unusual_files import LONG, NO_FILES, NOT_UTF8, make_no_files


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "a b.png").write_bytes(b"content")
    (tmp_path / "outside.png").write_bytes(b"secret")
    return folder


@pytest.fixture
def fetcher(inside: Path) -> Iterator[Fetcher]:
    with closing(Client()) as client:
        yield Fetcher(client, (inside,), frozenset({"ours"}), max_bytes=100, seconds=5)


def fetched(fetcher: Fetcher, url: str) -> bytes:
    with fetcher.fetched(SecretUrl(url)) as content:
        return content.read_bytes() if isinstance(content, Path) else content


def test_a_file_under_a_root_is_read(fetcher, inside):
    assert fetched(fetcher, f"file://{inside}/a%20b.png") == b"content"
    assert fetched(fetcher, f"FILE://localhost{inside}/../inside/a%20b.png") == b"content"
    (inside / "link.png").symlink_to(inside / "a b.png")
    assert fetched(fetcher, f"file://{inside}/link.png") == b"content"


def test_a_file_may_have_any_name(fetcher, inside):
    for name in (NOT_UTF8, *LONG.values(), "100% a\nb.jpg"):
        (inside / name).write_bytes(b"content")
        assert fetched(fetcher, (inside / name).as_uri()) == b"content"


def test_a_file_outside_the_roots_is_neither_read_nor_revealed(fetcher, inside):
    (inside / "link.png").symlink_to(inside.parent / "outside.png")
    (inside / "up").symlink_to(inside.parent)
    for path in ("link.png", "../outside.png", "%2e%2e/outside.png", "up/outside.png", "../none"):
        with pytest.raises(ForbiddenUrlError, match="outside the folders"):
            fetched(fetcher, f"file://{inside}/{path}")
    for beside in (f"{inside}-beside/a.png", "/etc/passwd", "/proc/self/environ"):
        with pytest.raises(ForbiddenUrlError, match="outside the folders"):
            fetched(fetcher, f"file://{beside}")
    with pytest.raises(ForbiddenUrlError, match="on another machine"):
        fetched(fetcher, f"file://elsewhere{inside}/a%20b.png")


def test_a_missing_file_or_a_folder_is_not_retryable(fetcher, inside):
    (inside / "circle").symlink_to(inside / "circle")
    for path in ("missing.png", "circle", "a%20b.png/x", "%00", "x" * 300):
        with pytest.raises(FetchError, match="no such file") as caught:
            fetched(fetcher, f"file://{inside}/{path}")
        assert not caught.value.retryable
    with pytest.raises(FetchError, match="not a file"):
        fetched(fetcher, f"file://{inside}")
    make_no_files(inside)
    for name in NO_FILES.keys() - {"device.jpg"}:  # that is outside
        with pytest.raises(FetchError, match=r"no such file|not a file"):
            fetched(fetcher, f"file://{inside}/{name}")
    with pytest.raises(FetchError, match="no such file"):
        fetched(fetcher, "file://[/a.png")


def test_a_file_larger_than_allowed_is_rejected(fetcher, inside):
    (inside / "large.png").write_bytes(bytes(101))
    with pytest.raises(ImageRejectedError, match="more than 100 bytes"):
        fetched(fetcher, f"file://{inside}/large.png")


def test_only_objects_in_allowed_buckets_are_fetched(fetcher):
    for url in ("s3://theirs/a.png", "s3://", "s3:///a.png", "s3:ours/a.png", "S3://ours/a.png"):
        with pytest.raises(ForbiddenUrlError, match=r"ingestion\.s3_buckets"):
            fetched(fetcher, url)


def test_an_unreadable_s3_object_is_a_retryable_fetch_error(fetcher, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    forget_clients()
    try:
        with pytest.raises(FetchError, match="s3://ours/") as caught:
            fetched(fetcher, "s3://ours/a.png")
        assert caught.value.retryable
    finally:
        forget_clients()


def test_a_large_download_is_in_a_temporary_file_that_is_deleted_afterwards(inside, monkeypatch):
    monkeypatch.setattr("ingestion.consumer.fetching._MAX_IN_MEMORY", 10)
    with HttpServer() as server, closing(Client({server.host})) as client:
        url = server.serve("/a.png", b"0123456789" * 2)
        fetcher = Fetcher(client, (), frozenset(), max_bytes=100, seconds=5)
        with fetcher.fetched(SecretUrl(url)) as content:
            assert isinstance(content, Path)
            assert content.read_bytes() == b"0123456789" * 2
        assert not content.exists()


def test_an_unwritable_temporary_file_is_a_storage_error(monkeypatch, tmp_path):
    monkeypatch.setattr("ingestion.consumer.fetching._MAX_IN_MEMORY", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with HttpServer() as server, closing(Client({server.host})) as client:
        url = server.serve("/a.png", bytes(20))
        fetcher = Fetcher(client, (), frozenset(), max_bytes=100, seconds=5)
        with pytest.raises(StorageError, match="cannot write"):
            fetched(fetcher, url)


@pytest.mark.parametrize(
    ("uploads", "url"), [("uploads", "file://{}/uploads/a.png"), ("s3://kept/up", "s3://kept/x")]
)
def test_uploads_may_always_be_fetched(tmp_path, monkeypatch, uploads, url):
    monkeypatch.chdir(tmp_path)
    settings = validated({"ingestion": {"uploads_dir": uploads}}, "test")
    with closing(Client()) as client:
        made = fetcher_of(settings, client)
    if storage.is_s3(uploads):
        assert made.buckets == {"kept"}
    else:
        with pytest.raises(FetchError, match="no such file"):
            fetched(made, url.format(tmp_path))


# ---- retries


def test_retry_after_may_be_a_date():
    moment = datetime.now(UTC) + timedelta(seconds=40)
    header = format_datetime(moment, usegmt=True)
    after = error_of_status(SecretUrl("http://a/"), 503, header).retry_after
    assert after is not None
    assert 35 < after <= 40


def test_only_temporary_failures_are_retryable():
    errors = {code: error_of_status(SecretUrl(""), code, None) for code in range(200, 600)}
    retryable = {code for code, error in errors.items() if error.retryable}
    assert retryable == {408, 425, 429, 500, 502, 503, 504}


def test_the_backoff_doubles_within_bounds():
    assert [backoff_seconds(attempt, None, jitter=0.5) for attempt in (2, 3, 4)] == [1, 2, 4]
    assert backoff_seconds(2, None, jitter=0.0) == 0.5
    assert backoff_seconds(2, 7.0, jitter=0.0) == 7
    assert backoff_seconds(4, 1.0, jitter=0.5) == 4
    assert backoff_seconds(2, float("inf")) == backoff_seconds(50, None) == 60

"""Sources of references: lists, samples, single images, and which source a URI names."""

import os
from collections.abc import Iterator
from contextlib import closing
from threading import Event
from typing import Any

import pytest

from ingestion.sources.folder import FolderSource
from ingestion.sources.lines import LINE_BYTES
from ingestion.sources.opening import open_source
from ingestion.sources.picsum import PicsumSource
from ingestion.sources.s3_prefix import S3PrefixSource
from ingestion.sources.samples import SampleSource
from ingestion.sources.source import FailedUnit, Source
from ingestion.sources.url_list import UrlListSource
from superres.errors import ConfigError, SuperresError
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.config_file import validated
from superres.pipeline.records import Attribution, image_id_of
from superres.pipeline.storage import StoredFile
from superres.redaction import redacted_url
from superres.service.public_http import Client
from tests.support.source_reading import WAIT_SECONDS, WANTED, following, read_all, urls_of, write
from tests.support.unusual_files import NO_FILES, make_no_files


@pytest.fixture
def client() -> Iterator[Client]:
    with closing(Client()) as opened:
        yield opened


def test_a_list_may_mix_urls_and_json_lines(tmp_path):
    listed = tmp_path / "urls.txt"
    listed.write_text(
        "\ufeff# images\r\nhttp://Example.org:80/a.jpg#top\r\n\n"
        '  {"url": "http://example.org/b.jpg?key=1", "author": "Ada", "author_url": '
        '"https://ada.example", "source": "archive", "content_type": "image/jpeg", "mode": '
        '"evaluate", "scale": 4, "width": 3}\nhttp://example.org/c.jpg?key=1'
    )
    (first, second, third), errors = read_all(UrlListSource(str(listed), WANTED))
    assert not errors
    assert first.image_id == image_id_of("upscale", 2, "http://example.org/a.jpg")
    assert (first.url.full, first.source) == (
        "http://Example.org:80/a.jpg#top",
        "http://example.org/a.jpg",
    )
    assert second.image_id == image_id_of("evaluate", 4, "http://example.org/b.jpg?key=1")
    assert (second.mode, second.scale, second.source) == ("evaluate", 4, "archive")
    assert second.attribution == Attribution(author="Ada", url="https://ada.example")
    assert second.content_type == "image/jpeg"
    # A query may hold a signature; its digest tells images apart.
    assert third.source == redacted_url("http://example.org/c.jpg?key=1")
    assert third.source.startswith("http://example.org/c.jpg#")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"ftp://example.org/a", "not an http or https URL"),
        (b"nonsense", "not an http or https URL"),
        (b"{", "JSON"),
        (b"{}", "url: Field required"),
        (b'{"url": 3}', "url"),
        (b'{"a":' * 10_000, "JSON"),
        (b'{"url": "http://a.example/2", "url": "http://a.example/4"}', "key 'url' is given twice"),
        (b'{"url": "http://a.example/", "scale": 5}', "scale"),
        (b'{"url": "http://a.example/", "author_url": "javascript:x"}', "author_url"),
        (b"http://example.org/\xff", "not UTF-8"),
        (b"http://example.org/" + b"a" * LINE_BYTES, "longer than 65,536 bytes"),
        (b"x" * (3 * LINE_BYTES + 7), "longer than 65,536 bytes"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_are_read(tmp_path, line, reason):
    listed = tmp_path / "urls.txt"
    listed.write_bytes(b"http://a.example/1\n" + line + b"\nhttp://a.example/3\n")
    found, errors = read_all(UrlListSource(str(listed), WANTED))
    assert [reference.url.full for reference in found] == [
        "http://a.example/1",
        "http://a.example/3",
    ]
    (error,) = errors
    assert error.startswith(f"{listed}, line 2: ")
    assert reason in error
    assert "\n" not in error


def test_a_jsonl_file_accepts_json_only(tmp_path):
    listed = tmp_path / "urls.jsonl"
    listed.write_text('{"url": "http://a.example/1"}\nhttp://a.example/2\n')
    found, errors = read_all(UrlListSource(str(listed), WANTED))
    assert len(found) == len(errors) == 1


def test_a_long_list_is_read_in_batches(tmp_path):
    listed = tmp_path / "urls.txt"
    count = 20_000
    listed.write_text("".join(f"http://a.example/{number}\n" for number in range(count)))
    source = UrlListSource(str(listed), WANTED)
    seen = 0
    for unit in source.units(Event()):
        assert not isinstance(unit, FailedUnit)
        assert len(unit) <= 128
        first, last = unit[0], unit[-1]
        assert first.normal == f"http://a.example/{seen}"
        seen += len(unit)
        assert last.normal == f"http://a.example/{seen - 1}"
    assert seen == count


def test_a_missing_list_is_reported(tmp_path):
    found, errors = read_all(UrlListSource(str(tmp_path / "none.txt"), WANTED))
    assert not found
    assert "No such file" in errors[0]


def test_a_list_on_standard_input_is_read_as_it_arrives():
    reading, writing = os.pipe()
    try:
        with following(UrlListSource("-", WANTED, stdin=reading)) as followed:
            os.write(writing, b"http://a.example/1\nhttp://a.ex")
            assert followed.next() == "http://a.example/1"
            os.write(writing, b"ample/2\nhttp://a.example/3")
            assert followed.next() == "http://a.example/2"
            os.close(writing)
            assert followed.next() == "http://a.example/3"
            followed.thread.join(WAIT_SECONDS)
            assert not followed.thread.is_alive()
    finally:
        os.close(reading)


def test_a_followed_list_yields_appended_lines(tmp_path):
    listed = tmp_path / "urls.txt"
    listed.write_text("http://a.example/1\nhttp://a.ex")
    with following(UrlListSource(str(listed), WANTED, follow_seconds=0.02)) as followed:
        assert followed.next() == "http://a.example/1"
        with listed.open("a") as stream:
            stream.write("ample/2\nhttp://a.example/3\n")
        assert followed.next() == "http://a.example/2"
        assert followed.next() == "http://a.example/3"
        # Cut back and written anew, then replaced by another, as editors do.
        listed.write_text("http://a.example/4\n")
        assert followed.next() == "http://a.example/4"
        (tmp_path / "new").write_text("http://a.example/5\nnonsense\n")
        (tmp_path / "new").replace(listed)
        assert {followed.next(), followed.next()} == {
            "http://a.example/5",
            f"{listed}, line 2: 'nonsense': not an http or https URL",
        }


# ---- samples and single images


def test_samples_are_served_and_have_the_same_image_id_on_every_port():
    with SampleSource(WANTED) as first, SampleSource(WANTED) as second:
        ours, theirs = read_all(first)[0], read_all(second)[0]
        assert [one.image_id for one in ours] == [one.image_id for one in theirs]
        assert ours[0].url != theirs[0].url
        assert ours[0].image_id == image_id_of("upscale", 2, "samples:astronaut.png")
        with closing(Client({first.allowed_host})) as client:
            for reference in ours:
                with client.request("GET", reference.url, seconds=10) as response:
                    assert response.status == 200
                    assert len(b"".join(response.chunks)) == int(response.headers["content-length"])
            with client.request("GET", f"{ours[0].url.full}/../setup.py", seconds=10) as response:
                assert response.status == 404


def test_followed_samples_are_served_until_stopped():
    with SampleSource(WANTED, follow=True) as source, following(source) as followed:
        assert followed.next().endswith("/astronaut.png")


def opened(uri: str, client: Client, **how) -> Source[Any]:
    settings: Settings = validated({"ingestion": {"picsum_url": "http://127.0.0.1:1"}}, "test")
    return open_source(uri, WANTED, settings, client, stop=Event(), **how)


def test_the_source_is_chosen_by_uri(tmp_path, client):
    listed, image = tmp_path / "urls.txt", write(tmp_path / "images" / "a.png")
    listed.write_text("http://a.example/1\n")
    expected = [
        ("picsum:", PicsumSource),
        ("picsum:1024x768", PicsumSource),
        ("s3://bucket/prefix", S3PrefixSource),
        ("s3://bucket/urls.jsonl", UrlListSource),
        (str(image.parent), FolderSource),
        (str(listed), UrlListSource),
        ("-", UrlListSource),
    ]
    for uri, kind in expected:
        assert type(opened(uri, client)) is kind
    with opened("samples:", client) as samples:  # type: ignore[attr-defined]  # a Source need not be closed
        assert isinstance(samples, SampleSource)
    assert urls_of(opened(str(image), client)) == [image.as_uri()]
    assert urls_of(opened("HTTP://a.example/1", client)) == ["HTTP://a.example/1"]
    assert urls_of(opened(str(listed), client)) == ["http://a.example/1"]


@pytest.mark.parametrize(
    "uri",
    ["", "nowhere", "ftp://a.example/", "picsum:big", "picsum:0x5", "samples:astronaut", "s3:/x"],
)
def test_an_unknown_uri_is_refused_with_the_allowed_kinds(client, uri):
    with pytest.raises(ConfigError, match="picsum:") as refused:
        opened(uri, client)
    assert "\n" not in str(refused.value)


def test_what_is_no_file_is_refused_with_the_reason(tmp_path, client):
    make_no_files(tmp_path)
    for name, reason in NO_FILES.items():
        with pytest.raises(ConfigError, match=f"{name}: {reason}; a source is picsum:"):
            opened(str(tmp_path / name), client)


def test_images_in_other_formats_under_a_prefix_are_named_once(monkeypatch):
    names = ("a.jpe", "b.heic", "notes.txt", "sub/c.avif")
    found = [StoredFile(f"s3://bucket/{name}", 1, etag="e") for name in names]
    monkeypatch.setattr(storage, "list_files", lambda _: found)
    (image,), (remark,) = read_all(S3PrefixSource("s3://bucket", WANTED))
    assert image.url.full == "s3://bucket/a.jpe"
    assert remark.startswith("s3://bucket: left out, because only JPEG, ")
    assert remark.endswith(" can be read; convert these: b.heic, c.avif")
    with following(S3PrefixSource("s3://bucket", WANTED, follow_seconds=0.01)) as followed:
        assert [followed.next(), followed.next()] == [remark, image.url.full]
        assert followed.nothing_for(0.2)


def test_following_a_source_that_cannot_change_is_refused(tmp_path, client):
    image = write(tmp_path / "a.png")
    for uri in (str(image), "http://a.example/1", "s3://bucket/urls.txt"):
        with pytest.raises(ConfigError, match="followed"):
            opened(uri, client, follow=True)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("scheme", ["ftp", "https"])
def test_no_error_about_a_source_quotes_its_secrets(scheme, follow, client):
    uri = f"{scheme}://me:s3cr3t@a.example/b.png?sig=s3cr3t"
    with pytest.raises(SuperresError) as raised:
        opened(uri, client, follow=follow).references(None)
    assert "s3cr3t" not in str(raised.value)
    assert "a.example" in str(raised.value)

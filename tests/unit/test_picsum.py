"""The Picsum source, over real sockets."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import pytest

from ingestion.sources.picsum import PicsumSource
from superres.pipeline.records import Attribution, image_id_of
from superres.service.public_http import Client
from tests.support.http_server import HttpServer, PicsumEntry
from tests.support.source_reading import WAIT_SECONDS, WANTED, following, read_all


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as opened:
        yield opened


@pytest.fixture
def client(server: HttpServer) -> Iterator[Client]:
    with closing(Client({server.host})) as opened:
        yield opened


class Impatient(Event):
    """An event whose ``wait`` returns at once; records the timeouts."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def entries_with_gaps(count: int) -> list[PicsumEntry]:
    """List entries whose ids have gaps, as Picsum's have."""
    return [
        PicsumEntry(str(number * 3), 60 + number, 40, f"Author {number}") for number in range(count)
    ]


def picsum(
    server: HttpServer, client: Client, stop: Event | None = None, uri: str = "", **how
) -> PicsumSource:
    size = (100, 80) if uri else None
    return PicsumSource(server.url(""), size, WANTED, client, stop or Event(), **how)


def test_every_page_of_picsum_is_listed_and_few_beyond_the_end(server, client):
    server.serve_picsum(entries_with_gaps(730), lambda *_: b"")
    found, errors = read_all(picsum(server, client))
    assert not errors
    assert len({reference.image_id for reference in found}) == 730
    pages = [target for target in server.hits if target.startswith("/v2/list")]
    assert 9 <= len(pages) <= 12
    assert max(server.hits.values()) == 1


def test_picsum_references_have_the_listed_or_the_requested_size(server, client):
    server.serve_picsum([PicsumEntry("17", 600, 400, "Ada")], lambda *_: b"")
    (own,), _ = read_all(picsum(server, client))
    assert own.url.full == server.url("/id/17/600/400.jpg")
    assert own.image_id == image_id_of("upscale", 2, "picsum:17:600x400")
    assert own.source == "picsum:17"
    assert own.attribution == Attribution(author="Ada", url="https://example.org/photo")
    (sized,), _ = read_all(picsum(server, client, uri="sized"))
    assert sized.url.full == server.url("/id/17/100/80.jpg")
    assert sized.image_id == image_id_of("upscale", 2, "picsum:17:100x80")


def test_picsum_images_may_be_behind_redirects(server, client):
    server.serve_picsum(
        entries_with_gaps(3), lambda name, *size: f"{name} {size}".encode(), redirects=True
    )
    for reference in read_all(picsum(server, client))[0]:
        with client.request("GET", reference.url, seconds=10, redirects=5) as response:
            assert b"".join(response.chunks).startswith(reference.source[7:].encode())
            assert "/cdn/" in response.url.full


def test_picsum_waits_as_long_as_retry_after_says(server, client):
    server.serve_picsum([], lambda *_: b"")
    page = "/v2/list?page=1&limit=100"
    entry = [{"id": "1", "author": "A", "width": 5, "height": 5}]
    body = json.dumps(entry).encode()
    server.serve(page, body, fail_first=2, fail_status=429, retry_after="17")
    server.serve("/v2/list", b"[]")
    stop = Impatient()
    found, errors = read_all(picsum(server, client, stop))
    assert (len(found), errors) == (1, [])
    assert stop.waits == [17, 17]
    assert server.hits[page] == 3


def test_a_picsum_page_that_keeps_failing_is_reported_and_the_others_are_read(server, client):
    server.serve_picsum(entries_with_gaps(300), lambda *_: b"")
    server.serve("/v2/list?page=2&limit=100", status=503)
    found, errors = read_all(picsum(server, client, Impatient(), attempts=3))
    assert len(found) == 200
    (error,) = errors
    assert "answered 503 (tried 3 times)" in error
    assert server.hits["/v2/list?page=2&limit=100"] == 3


def test_a_server_that_is_not_picsum_is_given_up_soon(server, client):
    stop = Impatient()
    found, errors = read_all(picsum(server, client, stop))
    assert not found
    assert 4 <= len(errors) <= 8
    assert "404" in errors[0]
    assert not stop.waits
    server.serve("/v2/list", b"<html>")
    assert "not a JSON list" in read_all(picsum(server, client))[1][0]


def test_a_picsum_page_that_is_cut_off_is_requested_again(server, client):
    server.serve("/v2/list?page=1&limit=100", b"[" + b" " * 5000 + b"]", cut_at=100)
    server.serve("/v2/list", b"[]")
    stop = Impatient()
    _, errors = read_all(picsum(server, client, stop, attempts=2))
    assert len(errors) == 1
    assert len(stop.waits) == 1


def test_a_picsum_page_above_the_size_limit_fails(server, client):
    server.serve("/v2/list?page=1&limit=100", b"[" + b" " * (9 << 20) + b"]")
    server.serve("/v2/list", b"[]")
    _, errors = read_all(picsum(server, client))
    assert "more than 8,388,608 bytes" in errors[0]


@pytest.mark.parametrize(
    "entry",
    [
        {"id": "../../etc", "author": "A", "width": 5, "height": 5},
        {"id": "2", "author": "A", "width": 0, "height": 5},
        {"id": "2", "author": "A", "width": 5},
        {"author": "A", "width": 5, "height": 5},
        "text",
        None,
    ],
)
def test_a_malformed_picsum_entry_is_reported_and_the_others_are_read(server, client, entry):
    server.serve("/v2/list?page=1&limit=100", json.dumps([entry, _entry("1")]).encode())
    server.serve("/v2/list", b"[]")
    found, errors = read_all(picsum(server, client))
    assert [reference.source for reference in found] == ["picsum:1"]
    (error,) = errors
    assert "entry 1 is skipped" in error
    assert "\n" not in error


def test_a_picsum_link_that_is_not_an_http_url_is_left_out(server, client):
    server.serve("/v2/list?page=1&limit=100", json.dumps([_entry("1", "javascript:x")]).encode())
    server.serve("/v2/list", b"[]")
    (found,), _ = read_all(picsum(server, client))
    assert found.attribution == Attribution(author="A", url=None)


def test_picsum_stops_while_it_waits_to_retry(server, client):
    server.serve("/v2/list", status=503, headers={"Retry-After": "60"})
    stop = Event()
    source = picsum(server, client, stop)
    with ThreadPoolExecutor(1) as pool:
        (unit,) = [next(source.units(stop))]
        asked = pool.submit(source.references, unit)
        stop.set()
        assert asked.result(timeout=WAIT_SECONDS) == []


def test_a_followed_picsum_yields_new_images(server, client):
    there = entries_with_gaps(150)
    server.serve_picsum(there, lambda *_: b"")
    with following(picsum(server, client, follow_seconds=0.05)) as followed:
        first = {followed.next() for _ in range(150)}
        assert len(first) == 150
        there.append(PicsumEntry("new"))
        assert followed.next() == server.url("/id/new/64/48.jpg")
        assert followed.nothing_for(0.2)


def _entry(name: str, url: str = "https://example.org") -> dict[str, object]:
    return {"id": name, "author": "A", "width": 5, "height": 5, "url": url}

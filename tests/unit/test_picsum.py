"""Photographs of a Picsum-compatible service, over real sockets."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event

import pytest

from ingestion.sources.picsum import PicsumSource
from superres.pipeline.records import Attribution, image_id_of
from superres.service.public_http import Client
from tests.support.http_server import HttpSource, Picture
from tests.support.source_reading import WAIT_SECONDS, WANTED, following, taken


@pytest.fixture
def source() -> Iterator[HttpSource]:
    with HttpSource() as server:
        yield server


@pytest.fixture
def client(source: HttpSource) -> Iterator[Client]:
    with closing(Client({source.host})) as made:
        yield made


class Impatient(Event):
    """An event that is waited for in no time; remembers how long it was meant to take."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


def pictures(count: int) -> list[Picture]:
    """Pictures whose ids have gaps, as Picsum's have."""
    return [
        Picture(str(number * 3), 60 + number, 40, f"Author {number}") for number in range(count)
    ]


def picsum(
    source: HttpSource, client: Client, stop: Event | None = None, uri: str = "", **how
) -> PicsumSource:
    size = (100, 80) if uri else None
    return PicsumSource(source.url(""), size, WANTED, client, stop or Event(), **how)


def test_picsum_lists_every_page_and_little_beyond(source, client):
    source.serve_picsum(pictures(730), lambda *_: b"")
    found, faults = taken(picsum(source, client))
    assert not faults
    assert len({reference.image_id for reference in found}) == 730
    pages = [target for target in source.hits if target.startswith("/v2/list")]
    assert 9 <= len(pages) <= 12
    assert max(source.hits.values()) == 1


def test_picsum_reference(source, client):
    source.serve_picsum([Picture("17", 600, 400, "Ada")], lambda *_: b"")
    (own,), _ = taken(picsum(source, client))
    assert own.url == source.url("/id/17/600/400.jpg")
    assert own.image_id == image_id_of("upscale", 2, "picsum:17:600x400")
    assert own.source == "picsum:17"
    assert own.attribution == Attribution(author="Ada", url="https://example.org/photo")
    (sized,), _ = taken(picsum(source, client, uri="sized"))
    assert sized.url == source.url("/id/17/100/80.jpg")
    assert sized.image_id == image_id_of("upscale", 2, "picsum:17:100x80")


def test_picsum_photographs_are_behind_redirects(source, client):
    source.serve_picsum(pictures(3), lambda name, *size: f"{name} {size}".encode(), redirects=True)
    for reference in taken(picsum(source, client))[0]:
        with client.request("GET", reference.url, seconds=10, redirects=5) as answer:
            assert b"".join(answer.chunks).startswith(reference.source[7:].encode())
            assert "/cdn/" in answer.url


def test_picsum_waits_as_long_as_it_is_asked_to(source, client):
    source.serve_picsum([], lambda *_: b"")
    page = "/v2/list?page=1&limit=100"
    entry = [{"id": "1", "author": "A", "width": 5, "height": 5}]
    body = json.dumps(entry).encode()
    source.serve(page, body, fail_first=2, fail_status=429, retry_after="17")
    source.serve("/v2/list", b"[]")
    stop = Impatient()
    found, faults = taken(picsum(source, client, stop))
    assert (len(found), faults) == (1, [])
    assert stop.waits == [17, 17]
    assert source.hits[page] == 3


def test_picsum_page_that_stays_broken_is_told_and_the_others_come(source, client):
    source.serve_picsum(pictures(300), lambda *_: b"")
    source.serve("/v2/list?page=2&limit=100", status=503)
    found, faults = taken(picsum(source, client, Impatient(), attempts=3))
    assert len(found) == 200
    (fault,) = faults
    assert "answered 503 (tried 3 times)" in fault
    assert source.hits["/v2/list?page=2&limit=100"] == 3


def test_picsum_that_is_no_picsum_ends_soon(source, client):
    stop = Impatient()
    found, faults = taken(picsum(source, client, stop))
    assert not found
    assert 4 <= len(faults) <= 8
    assert "404" in faults[0]
    assert not stop.waits
    source.serve("/v2/list", b"<html>")
    assert "no JSON list" in taken(picsum(source, client))[1][0]


def test_picsum_page_that_is_cut_off_is_asked_for_again(source, client):
    source.serve("/v2/list?page=1&limit=100", b"[" + b" " * 5000 + b"]", cut_at=100)
    source.serve("/v2/list", b"[]")
    stop = Impatient()
    _, faults = taken(picsum(source, client, stop, attempts=2))
    assert len(faults) == 1
    assert len(stop.waits) == 1


def test_picsum_page_is_read_up_to_a_limit(source, client):
    source.serve("/v2/list?page=1&limit=100", b"[" + b" " * (9 << 20) + b"]")
    source.serve("/v2/list", b"[]")
    _, faults = taken(picsum(source, client))
    assert "more than 8,388,608 bytes" in faults[0]


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
def test_picsum_entry_that_is_malformed_is_told_and_the_others_come(source, client, entry):
    source.serve("/v2/list?page=1&limit=100", json.dumps([entry, _entry("1")]).encode())
    source.serve("/v2/list", b"[]")
    found, faults = taken(picsum(source, client))
    assert [reference.source for reference in found] == ["picsum:1"]
    (fault,) = faults
    assert "entry 1 is skipped" in fault
    assert "\n" not in fault


def test_picsum_link_that_is_no_web_address_is_left_out(source, client):
    source.serve("/v2/list?page=1&limit=100", json.dumps([_entry("1", "javascript:x")]).encode())
    source.serve("/v2/list", b"[]")
    (found,), _ = taken(picsum(source, client))
    assert found.attribution == Attribution(author="A", url=None)


def test_picsum_stops_in_the_middle_of_a_wait(source, client):
    source.serve("/v2/list", status=503, headers={"Retry-After": "60"})
    stop = Event()
    origin = picsum(source, client, stop)
    with ThreadPoolExecutor(1) as pool:
        (unit,) = [next(origin.units(stop))]
        asked = pool.submit(origin.references, unit)
        stop.set()
        assert asked.result(timeout=WAIT_SECONDS) == []


def test_picsum_followed_gives_what_is_new(source, client):
    there = pictures(150)
    source.serve_picsum(there, lambda *_: b"")
    with following(picsum(source, client, follow_seconds=0.05)) as followed:
        first = {followed.next() for _ in range(150)}
        assert len(first) == 150
        there.append(Picture("new"))
        assert followed.next() == source.url("/id/new/64/48.jpg")
        assert followed.nothing(0.2)


def _entry(name: str, url: str = "https://example.org") -> dict[str, object]:
    return {"id": name, "author": "A", "width": 5, "height": 5, "url": url}

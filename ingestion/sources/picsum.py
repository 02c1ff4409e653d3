"""Photographs of a Picsum-compatible service (https://picsum.photos), page by page of its list."""

import json
import re
from collections import deque
from collections.abc import Iterator
from itertools import count
from threading import Condition, Event

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingestion.references import Wanted
from ingestion.retries import FetchError
from ingestion.sources.faults import Fault
from ingestion.sources.fetching import fetch_document
from ingestion.sources.seen import Seen
from superres.errors import ConfigError, SuperresError
from superres.pipeline.records import Attribution, ImageReference
from superres.service.public_http import Client

PAGE_IMAGES = 100  # the most that Picsum gives
_PAGE_BYTES = 8 << 20
_AHEAD = 4  # pages asked for at once, so at most three are asked for beyond the end
_MOST_FAILURES = 4  # in a row: then the server is down, and each page would only say so again
_POLL_SECONDS = 0.2
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
Size = tuple[int, int]


class _Entry(BaseModel):
    """One photograph of a list page; its id goes into a URL, so it is checked closely."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    author: str
    width: int = Field(gt=0, lt=100_000)
    height: int = Field(gt=0, lt=100_000)
    url: str | None = None


def size_in(uri: str) -> Size | None:
    """The size that ``picsum:WIDTHxHEIGHT`` asks for; None (``picsum:``): each image's own."""
    text = uri.partition(":")[2]
    if not text:
        return None
    found = _SIZE.fullmatch(text)
    if not found:
        raise ConfigError(f"{uri}: expected picsum: or picsum:WIDTHxHEIGHT, as in picsum:1024x768")
    return int(found[1]), int(found[2])


class PicsumSource:
    """Units are page numbers, a few ahead of those that have been read.

    Whoever reads an empty page tells the listing that it has ended. Followed, the list is read
    again from its first page, and only ids not seen yet are given; ``Seen`` bounds their memory.

    Args:
        base_url: of the service, as ``https://picsum.photos``.
        size: of every image; None for its own.
        wanted: of every image.
        client: to reach the service with.
        stop: ends waiting between attempts.
        fetch_seconds: for one list page.
        attempts: of a page that the server fails to give for now.
        follow_seconds: between two readings of the list; None reads it once.
    """

    def __init__(
        self,
        base_url: str,
        size: Size | None,
        wanted: Wanted,
        client: Client,
        stop: Event,
        *,
        fetch_seconds: float = 60.0,
        attempts: int = 5,
        follow_seconds: float | None = None,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._size = size
        self._wanted = wanted
        self._client = client
        self._stop = stop
        self._fetch_seconds = fetch_seconds
        self._attempts = attempts
        self._follow_seconds = follow_seconds
        self._seen = Seen()
        # What follows is shared with the threads that read pages, under this lock.
        self._changed = Condition()
        self._out = 0
        self._ended = False
        self._failures = 0
        self._faults: deque[Fault] = deque()

    def units(self, stop: Event) -> Iterator[int | Fault]:
        """Page numbers until one is empty, and entries that could not be read."""
        while not stop.is_set():
            with self._changed:
                self._ended, self._failures = False, 0
            for page in count(1):
                self._wait(_AHEAD, stop)
                yield from self._told()
                with self._changed:
                    if self._ended or stop.is_set():
                        break
                    self._out += 1
                yield page
            self._wait(1, stop)
            yield from self._told()
            if self._follow_seconds is None or stop.wait(self._follow_seconds):
                return

    def references(self, unit: int | Fault) -> list[ImageReference]:
        """The photographs of one page."""
        if isinstance(unit, Fault):
            raise unit.error
        found: list[ImageReference] | None = None
        try:
            found = self._page(unit)
        finally:
            with self._changed:
                self._out -= 1
                self._failures = self._failures + 1 if found is None else 0
                self._ended = self._ended or self._failures >= _MOST_FAILURES
                self._changed.notify_all()
        return found

    def _wait(self, most: int, stop: Event) -> None:
        """Until fewer pages than that are being read; the end of the list is reason to go on."""
        with self._changed:
            while self._out >= most and not stop.is_set() and not (self._ended and most > 1):
                self._changed.wait(_POLL_SECONDS)

    def _told(self) -> Iterator[Fault]:
        while True:
            with self._changed:
                if not self._faults:
                    return
                fault = self._faults.popleft()
            yield fault

    def _page(self, page: int) -> list[ImageReference]:
        url = f"{self._base}/v2/list?page={page}&limit={PAGE_IMAGES}"
        body = fetch_document(
            self._client,
            url,
            seconds=self._fetch_seconds,
            most_bytes=_PAGE_BYTES,
            attempts=self._attempts,
            stop=self._stop,
        )
        if body is None:
            return []
        entries = _parsed(body, url)
        if not entries:
            with self._changed:
                self._ended = True
        return [
            self._reference(entry) for entry in self._read(entries, url) if self._is_new(entry.id)
        ]

    def _read(self, entries: list[object], url: str) -> Iterator[_Entry]:
        for number, entry in enumerate(entries, start=1):
            try:
                yield _Entry.model_validate(entry)
            except ValidationError as error:
                fault = error.errors(include_url=False)[0]
                field = ".".join(map(str, fault["loc"])) or "all of it"
                reason = f"{url}: entry {number} is skipped: {field}: {fault['msg']}"
                with self._changed:
                    self._faults.append(Fault(SuperresError(reason)))

    def _is_new(self, image: str) -> bool:
        with self._changed:
            return self._follow_seconds is None or self._seen.add(image)

    def _reference(self, entry: _Entry) -> ImageReference:
        width, height = self._size or (entry.width, entry.height)
        # The address is shown as a link, where javascript: and its like must not come through.
        link = entry.url if (entry.url or "").startswith(("http://", "https://")) else None
        return self._wanted.reference(
            canonical=f"picsum:{entry.id}:{width}x{height}",
            url=f"{self._base}/id/{entry.id}/{width}/{height}.jpg",
            source=f"picsum:{entry.id}",
            attribution=Attribution(author=entry.author, url=link),
        )


def _parsed(body: bytes, url: str) -> list[object]:
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise FetchError(f"{url}: the answer is no JSON list; is this a Picsum API?", again=False)
    return entries

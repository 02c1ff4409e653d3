"""Images of a Picsum-compatible service (https://picsum.photos), one page of its list at a time."""

import json
import re
from collections import deque
from collections.abc import Iterator
from itertools import count
from threading import Condition, Event

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ingestion.references import Wanted
from ingestion.retries import FetchError, fetch_document
from ingestion.sources.source import FailedUnit, Seen
from superres.errors import ConfigError, SuperresError
from superres.pipeline.records import Attribution, ImageReference
from superres.pipeline.source_path import source_path
from superres.redaction import SecretUrl, redacted_url
from superres.service.public_http import Client

_PAGE_IMAGES = 100  # the maximum that Picsum returns
_MAX_PAGE_BYTES = 8 << 20
_CONCURRENT_PAGES = 4  # so at most three are requested beyond the end
_MAX_FAILURES = 4  # in a row: then the server is down, and every further page would fail as well
_POLL_SECONDS = 0.2
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
Size = tuple[int, int]


class _Entry(BaseModel):
    """One image of a list page; its id becomes part of a URL, so it is checked strictly."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    author: str
    width: int = Field(gt=0, lt=100_000)
    height: int = Field(gt=0, lt=100_000)
    url: str | None = None


def size_in(uri: str) -> Size | None:
    """The size in ``picsum:WIDTHxHEIGHT``; None (``picsum:``): each image's own."""
    text = uri.partition(":")[2]
    if not text:
        return None
    found = _SIZE.fullmatch(text)
    if not found:
        raise ConfigError(f"{uri}: expected picsum: or picsum:WIDTHxHEIGHT, as in picsum:1024x768")
    return int(found[1]), int(found[2])


class PicsumSource:
    """Units are page numbers, a few ahead of those that have been read.

    The list ends at an empty page. When followed, it is read again from its first page, and only
    ids not seen yet are yielded; ``Seen`` bounds the memory that this takes.

    Args:
        base_url: of the service, such as ``https://picsum.photos``.
        size: of every image; None for its own.
        wanted: how to process every image.
        client: for requests to the service.
        stop: ends the wait between attempts.
        fetch_seconds: timeout for one list page.
        attempts: per page, while the server fails.
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
        # Shared with the threads that read pages, under this lock.
        self._changed = Condition()
        self._pages_in_progress = 0
        self._ended = False
        self._failures = 0
        self._bad_entries: deque[FailedUnit] = deque()

    def units(self, stop: Event) -> Iterator[int | FailedUnit]:
        """Page numbers until a page is empty, and entries that are not valid."""
        while not stop.is_set():
            with self._changed:
                self._ended, self._failures = False, 0
            for page in count(1):
                self._wait(_CONCURRENT_PAGES, stop)
                yield from self._collected_bad_entries()
                with self._changed:
                    if self._ended or stop.is_set():
                        break
                    self._pages_in_progress += 1
                yield page
            self._wait(1, stop)
            yield from self._collected_bad_entries()
            if self._follow_seconds is None or stop.wait(self._follow_seconds):
                return

    def references(self, unit: int | FailedUnit) -> list[ImageReference]:
        """The images of one page."""
        if isinstance(unit, FailedUnit):
            raise unit.error
        found: list[ImageReference] | None = None
        try:
            found = self._page(unit)
        finally:
            with self._changed:
                self._pages_in_progress -= 1
                self._failures = self._failures + 1 if found is None else 0
                self._ended = self._ended or self._failures >= _MAX_FAILURES
                self._changed.notify_all()
        return found

    def _wait(self, pages: int, stop: Event) -> None:
        """Waits until fewer pages than this are in progress.

        While more than one may be in progress, the end of the list ends the wait too.
        """
        with self._changed:
            while self._pages_in_progress >= pages and not stop.is_set():
                if self._ended and pages > 1:
                    return
                self._changed.wait(_POLL_SECONDS)

    def _collected_bad_entries(self) -> Iterator[FailedUnit]:
        while True:
            with self._changed:
                if not self._bad_entries:
                    return
                failed = self._bad_entries.popleft()
            yield failed

    def _page(self, page: int) -> list[ImageReference]:
        name = f"page {page} of {redacted_url(self._base)}/v2/list"
        try:
            body = fetch_document(
                self._client,
                SecretUrl(f"{self._base}/v2/list?page={page}&limit={_PAGE_IMAGES}"),
                seconds=self._fetch_seconds,
                max_bytes=_MAX_PAGE_BYTES,
                attempts=self._attempts,
                stop=self._stop,
            )
        except FetchError as error:
            raise FetchError(f"page {page} of {error}", retryable=error.retryable) from None
        if body is None:
            return []
        entries = _parsed(body, name)
        if not entries:
            with self._changed:
                self._ended = True
        return [
            self._reference(entry) for entry in self._valid(entries, name) if self._is_new(entry.id)
        ]

    def _valid(self, entries: list[object], name: str) -> Iterator[_Entry]:
        for number, entry in enumerate(entries, start=1):
            try:
                yield _Entry.model_validate(entry)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                field = ".".join(map(str, first["loc"])) or "the whole entry"
                reason = f"{name}: entry {number} is skipped: {field}: {first['msg']}"
                with self._changed:
                    self._bad_entries.append(FailedUnit(SuperresError(reason)))

    def _is_new(self, picsum_id: str) -> bool:
        with self._changed:
            return self._follow_seconds is None or self._seen.add(picsum_id)

    def _reference(self, entry: _Entry) -> ImageReference:
        width, height = self._size or (entry.width, entry.height)
        # The gallery shows it as a link, so it must not be javascript: or the like.
        link = entry.url if (entry.url or "").startswith(("http://", "https://")) else None
        return self._wanted.reference(
            canonical=f"picsum:{entry.id}:{width}x{height}",
            url=f"{self._base}/id/{entry.id}/{width}/{height}.jpg",
            source=f"picsum:{entry.id}",
            attribution=Attribution(author=entry.author, url=link),
            path=source_path(f"{entry.id}.jpg"),
        )


def _parsed(body: bytes, name: str) -> list[object]:
    try:
        entries = json.loads(body)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise FetchError(
            f"{name}: the response is not a JSON list; is this a Picsum API?", retryable=False
        )
    return entries

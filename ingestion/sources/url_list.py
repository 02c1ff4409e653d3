"""A list of URLs: a text file with one per line, or JSON lines with more about each."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ingestion.references import Wanted
from ingestion.sources.lines import LINE_BYTES, Line, file_lines, stdin_lines
from ingestion.sources.source import FailedUnit
from ingestion.sources.urls import normalised_url
from superres.errors import StorageError, SuperresError
from superres.pipeline import storage
from superres.pipeline.records import Attribution, ImageReference, Mode, Scale
from superres.pipeline.source_path import path_of_url
from superres.redaction import redacted_url

STDIN = "-"
_JSON_SUFFIXES = (".jsonl", ".ndjson")
LIST_SUFFIXES = (".txt", *_JSON_SUFFIXES)
_BATCH = 128
_BOM = b"\xef\xbb\xbf"


class _JsonLine(BaseModel):
    """A line of JSON; keys of other tools are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    url: str
    author: str | None = None
    # The gallery shows it as a link, so it must not be javascript: or the like.
    author_url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = None
    source: str | None = None
    content_type: str | None = None
    mode: Mode | None = None
    scale: Scale | None = None


@dataclass(frozen=True)
class ListedUrl:
    """A valid line: its fields, with the URL as written, and the URL in its normal form."""

    fields: _JsonLine
    normal: str


Batch = tuple[ListedUrl, ...]


class UrlListSource:
    """Units are batches of lines; a bad line is its own unit, so that the others are not affected.

    Args:
        uri: a local path, ``s3://bucket/key``, or ``-`` for standard input.
        wanted: how to process every image whose line does not specify it.
        follow_seconds: how often to look for appended lines of a local file; None reads it once.
        stdin: the file descriptor for ``-``.
    """

    def __init__(
        self, uri: str, wanted: Wanted, *, follow_seconds: float | None = None, stdin: int = 0
    ) -> None:
        self._uri = uri
        self._name = "standard input" if uri == STDIN else uri
        self._wanted = wanted
        self._follow_seconds = follow_seconds
        self._stdin = stdin

    def units(self, stop: Event) -> Iterator[Batch | FailedUnit]:
        """The lines of the list, in batches."""
        try:
            for lines in self._lines(stop):
                parsed = filter(None, map(self._parsed, lines))
                while batch := tuple(islice(parsed, _BATCH)):
                    yield from (line for line in batch if isinstance(line, FailedUnit))
                    if urls := tuple(line for line in batch if isinstance(line, ListedUrl)):
                        yield urls
        except StorageError as error:
            yield FailedUnit(error)
        except OSError as error:
            reason = f"{self._name}: cannot be read: {error.strerror or error}"
            yield FailedUnit(StorageError(reason))

    def references(self, unit: Batch | FailedUnit) -> list[ImageReference]:
        """References to the URLs of a batch."""
        if isinstance(unit, FailedUnit):
            raise unit.error
        return [_reference(listed, self._wanted) for listed in unit]

    def _lines(self, stop: Event) -> Iterator[list[Line]]:
        if self._uri == STDIN:
            yield from stdin_lines(stop, self._stdin)
        elif storage.is_s3(self._uri):
            with storage.local_copy(self._uri) as path:
                yield from file_lines(path, stop)
        else:
            yield from file_lines(Path(self._uri), stop, self._follow_seconds)

    def _parsed(self, line: Line) -> ListedUrl | FailedUnit | None:
        """None for a blank line or a comment."""
        try:
            if line.content is None:
                raise SuperresError(f"longer than {LINE_BYTES:,} bytes")
            text = _decoded(line).strip()
            if not text or text.startswith("#"):
                return None
            if text.startswith("{") or self._uri.lower().endswith(_JSON_SUFFIXES):
                fields = _json_line(text)
            else:
                fields = _JsonLine(url=text)
            return ListedUrl(fields, normalised_url(fields.url))
        except SuperresError as error:
            return FailedUnit(SuperresError(f"{self._name}, line {line.number}: {error}"))


def url_reference(url: str, wanted: Wanted) -> ImageReference:
    """A reference to one URL; raises ``ForbiddenUrlError`` unless it is an http or https URL."""
    return _reference(ListedUrl(_JsonLine(url=url), normalised_url(url)), wanted)


def _reference(listed: ListedUrl, wanted: Wanted) -> ImageReference:
    line = listed.fields
    attribution = None
    if line.author is not None:
        attribution = Attribution(author=line.author, url=line.author_url)
    chosen = replace(wanted, mode=line.mode or wanted.mode, scale=line.scale or wanted.scale)
    return chosen.reference(
        canonical=listed.normal,
        url=line.url.strip(),
        source=line.source or redacted_url(listed.normal),
        attribution=attribution,
        content_type=line.content_type,
        path=path_of_url(listed.normal),
    )


def _decoded(line: Line) -> str:
    content = line.content or b""
    try:
        return (content.removeprefix(_BOM) if line.number == 1 else content).decode()
    except UnicodeDecodeError as error:
        raise SuperresError(f"not UTF-8 from byte {error.start + 1} on") from None


def _json_line(text: str) -> _JsonLine:
    with suppress(ValueError, RecursionError):  # what is no JSON, the model explains
        json.loads(text, object_pairs_hook=_each_key_once)
    try:
        return _JsonLine.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = "".join(f"{part}: " for part in first["loc"][:1])
        raise SuperresError(f"{field}{' '.join(first['msg'].split())}") from None


def _each_key_once(pairs: list[tuple[str, Any]]) -> None:
    """Raises ``SuperresError`` for a key given twice, of which the last would win."""
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key, count in Counter(keys).items() if count > 1)
        raise SuperresError(f"key {twice!r} is given twice; remove one of them")

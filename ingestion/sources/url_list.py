"""A list of URLs: a text file with one a line, or JSON lines that say more of each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from ingestion.references import Wanted
from ingestion.sources.faults import Fault
from ingestion.sources.lines import LINE_BYTES, Line, file_lines, stdin_lines
from ingestion.sources.urls import normalised_url
from superres.errors import StorageError, SuperresError
from superres.pipeline import storage
from superres.pipeline.records import Attribution, ImageReference, Mode, Scale

STDIN = "-"
JSON_SUFFIXES = (".jsonl", ".ndjson")
LIST_SUFFIXES = (".txt", *JSON_SUFFIXES)
_BATCH = 128
_BOM = b"\xef\xbb\xbf"


class _Described(BaseModel):
    """A line of JSON; keys of other tools are left alone."""

    model_config = ConfigDict(extra="ignore", strict=True)

    url: str
    author: str | None = None
    # It is shown as a link, where javascript: and its like must not come through.
    author_url: Annotated[str, StringConstraints(pattern=r"^https?://\S+$")] | None = None
    source: str | None = None
    content_type: str | None = None
    mode: Mode | None = None
    scale: Scale | None = None


@dataclass(frozen=True)
class ListedUrl:
    """A line that was understood: the URL as written and in its normal form."""

    described: _Described
    normal: str


Batch = tuple[ListedUrl, ...]


class UrlListSource:
    """Units are batches of lines; a bad line is a unit of its own, so that the others go on.

    Args:
        uri: a local path, ``s3://bucket/key``, or ``-`` for standard input.
        wanted: of every image whose line says nothing else.
        follow_seconds: how often to look for appended lines of a local file; None reads it once.
        stdin: the descriptor that ``-`` stands for.
    """

    def __init__(
        self, uri: str, wanted: Wanted, *, follow_seconds: float | None = None, stdin: int = 0
    ) -> None:
        self._uri = uri
        self._name = "standard input" if uri == STDIN else uri
        self._wanted = wanted
        self._follow_seconds = follow_seconds
        self._stdin = stdin

    def units(self, stop: Event) -> Iterator[Batch | Fault]:
        """The list's lines, in batches."""
        try:
            for lines in self._lines(stop):
                parsed = filter(None, map(self._parsed, lines))
                while some := tuple(islice(parsed, _BATCH)):
                    yield from (unit for unit in some if isinstance(unit, Fault))
                    if good := tuple(unit for unit in some if isinstance(unit, ListedUrl)):
                        yield good
        except StorageError as error:
            yield Fault(error)
        except OSError as error:
            reason = f"{self._name}: cannot be read: {error.strerror or error}"
            yield Fault(StorageError(reason))

    def references(self, unit: Batch | Fault) -> list[ImageReference]:
        """References to the URLs of a batch."""
        if isinstance(unit, Fault):
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

    def _parsed(self, line: Line) -> ListedUrl | Fault | None:
        """None for a line that is blank or a comment."""
        try:
            if line.content is None:
                raise SuperresError(f"longer than {LINE_BYTES:,} bytes")
            text = _decoded(line).strip()
            if not text or text.startswith("#"):
                return None
            if text.startswith("{") or self._uri.lower().endswith(JSON_SUFFIXES):
                described = _described(text)
            else:
                described = _Described(url=text)
            return ListedUrl(described, normalised_url(described.url))
        except SuperresError as error:
            return Fault(SuperresError(f"{self._name}, line {line.number}: {error}"))


def url_reference(url: str, wanted: Wanted) -> ImageReference:
    """A reference to one URL; raises ``ForbiddenUrlError`` when it is not one of http or https."""
    return _reference(ListedUrl(_Described(url=url), normalised_url(url)), wanted)


def _reference(listed: ListedUrl, wanted: Wanted) -> ImageReference:
    given = listed.described
    attribution = None
    if given.author is not None:
        attribution = Attribution(author=given.author, url=given.author_url)
    chosen = replace(wanted, mode=given.mode or wanted.mode, scale=given.scale or wanted.scale)
    return chosen.reference(
        canonical=listed.normal,
        url=given.url.strip(),
        # A query may hold a signature, and a source is shown to everyone.
        source=given.source or listed.normal.partition("?")[0],
        attribution=attribution,
        content_type=given.content_type,
    )


def _decoded(line: Line) -> str:
    content = line.content or b""
    try:
        return (content.removeprefix(_BOM) if line.number == 1 else content).decode()
    except UnicodeDecodeError as error:
        raise SuperresError(f"not UTF-8 from byte {error.start + 1} on") from None


def _described(text: str) -> _Described:
    try:
        return _Described.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = "".join(f"{part}: " for part in fault["loc"][:1])
        raise SuperresError(f"{field}{' '.join(fault['msg'].split())}") from None

"""Opens the source that a URI names."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from ingestion.references import Wanted
from ingestion.sources.folder import FolderSource
from ingestion.sources.picsum import PicsumSource, size_in
from ingestion.sources.s3_prefix import S3PrefixSource
from ingestion.sources.samples import SampleSource
from ingestion.sources.source import SingleImage, Source
from ingestion.sources.url_list import LIST_SUFFIXES, STDIN, UrlListSource, url_reference
from superres.errors import ConfigError
from superres.imaging.files import SUFFIXES, why_no_file
from superres.pipeline import storage
from superres.pipeline.arrival import reference_to_file
from superres.pipeline.config import Settings
from superres.pipeline.records import ImageReference
from superres.redaction import redacted
from superres.service.public_http import Client

_RESCAN_SECONDS = 30.0  # between two listings of a followed folder, prefix or Picsum
_TAIL_SECONDS = 0.5  # between two looks at a followed list of URLs
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
ALLOWED = (
    "picsum:, picsum:WIDTHxHEIGHT, samples:, s3://bucket/prefix, a folder, an image file, "
    "a list (.txt, .jsonl or .ndjson, local or s3://; - for standard input), or an http(s) URL"
)


def open_source(
    uri: str,
    wanted: Wanted,
    settings: Settings,
    client: Client,
    *,
    follow: bool = False,
    stop: Event,
) -> Source[Any]:
    """The source that ``uri`` names; ``ALLOWED`` lists the kinds.

    The source ``samples:`` serves until it is closed or the process ends.

    Raises ``ConfigError`` with one line when there is no such source, or it cannot be followed.
    """
    interval = _RESCAN_SECONDS if follow else None
    if uri == STDIN:
        return UrlListSource(uri, wanted)
    if uri.startswith("picsum:"):
        ingestion = settings.ingestion
        return PicsumSource(
            ingestion.picsum_url,
            size_in(uri),
            wanted,
            client,
            stop,
            fetch_seconds=ingestion.fetch_seconds,
            attempts=ingestion.attempts,
            follow_seconds=interval,
        )
    if uri == "samples:":
        return SampleSource(wanted, follow=follow)
    if storage.is_s3(uri):
        return _in_s3(uri, wanted, interval)
    if uri.lower().startswith(("http://", "https://")):
        return _single(uri, follow, lambda: url_reference(uri, wanted))
    return _local(uri, wanted, interval)


def expanded(source: str) -> str:
    """The path with a leading ``~`` expanded."""
    return os.path.expanduser(source)  # noqa: PTH111  # Path raises where there is no such user


def _in_s3(uri: str, wanted: Wanted, interval: float | None) -> Source[Any]:
    suffix = Path(uri).suffix.lower()
    if suffix in SUFFIXES:
        raise ConfigError(f"{uri}: a single object is not a source; name the prefix it is under")
    if suffix not in LIST_SUFFIXES:
        return S3PrefixSource(uri, wanted, follow_seconds=interval)
    if interval is not None:
        raise ConfigError(f"{uri}: a list in S3 cannot be followed; objects do not grow")
    return UrlListSource(uri, wanted)


def _local(uri: str, wanted: Wanted, interval: float | None) -> Source[Any]:
    path = Path(expanded(uri))
    suffix = path.suffix.lower()
    if uri and path.is_dir():
        return FolderSource(path, wanted, follow_seconds=interval)
    if path.is_file() and suffix in LIST_SUFFIXES:
        tail = None if interval is None else _TAIL_SECONDS
        return UrlListSource(str(path), wanted, follow_seconds=tail)
    if path.is_file() and suffix in SUFFIXES:
        return _single(
            uri,
            interval is not None,
            lambda: reference_to_file(path, wanted.mode, wanted.scale, wanted.now()),
        )
    if path.is_file():
        raise ConfigError(
            f"{uri}: its suffix is neither an image's nor a list's; a source is {ALLOWED}"
        )
    reason = why_no_file(path) if os.path.lexists(path) else "no such file or folder"
    problem = "unknown kind of source" if _SCHEME.match(uri) else reason
    raise ConfigError(f"{redacted(uri) or repr(uri)}: {problem}; a source is {ALLOWED}")


def _single(uri: str, follow: bool, make: Callable[[], ImageReference]) -> Source[Any]:
    if follow:
        reason = "a single image cannot be followed; leave out --follow"
        raise ConfigError(f"{redacted(uri)}: {reason}")
    return SingleImage(make)

"""The path of an image below the source that it came from, as in ``holiday/day 1/IMG_0001.jpg``.

It travels in the records, so that results can be given the names and folders that people know.
"""

from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, StringConstraints

from superres.imaging.names import readable

_LENGTH = 4096
_NOWHERE = ("", ".", "..")


def _below(path: str) -> str:
    if any(part in _NOWHERE for part in path.split("/")) or readable(path) != path:
        raise ValueError("not a path below a folder")
    return path


SourcePath = Annotated[str, StringConstraints(max_length=_LENGTH), AfterValidator(_below)]
"""A relative path with ``/``, without ``..``, empty parts and control characters."""


def source_path(text: str) -> str | None:
    """``text`` as a ``SourcePath``: parts that lead nowhere are left out; None if nothing is left.

    Bytes that are not UTF-8 and control characters become readable ones.
    """
    parts = [part for part in readable(text).split("/") if part not in _NOWHERE]
    path = "/".join(parts)
    return path[-_LENGTH:].lstrip("/") or None


def path_of_file(file: Path, folder: Path | None = None) -> str | None:
    """The path of a file below ``folder``; its name without one, or where it lies elsewhere."""
    if folder is None or not file.is_relative_to(folder):
        return source_path(file.name)
    return source_path(file.relative_to(folder).as_posix())


def path_of_url(url: str) -> str | None:
    """The last part of a URL's path, decoded; never its query."""
    last = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    return source_path(unquote(last, errors="replace").replace("/", "_"))

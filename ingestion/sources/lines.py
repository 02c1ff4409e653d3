"""Reads the lines of a text that may be endless or still growing, in constant memory."""

import os
import select
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import BinaryIO, NamedTuple

LINE_BYTES = 1 << 16
_CHUNK = 1 << 16
_STDIN_POLL_SECONDS = 0.5


class Line(NamedTuple):
    """A line without its newline; ``content`` is None when it exceeds ``LINE_BYTES``."""

    number: int
    content: bytes | None


def file_lines(path: Path, stop: Event, poll_seconds: float | None = None) -> Iterator[list[Line]]:
    """The lines of a file, in batches as they are read.

    With ``poll_seconds`` it keeps reading appended lines until ``stop`` is set. A file that shrank
    or was replaced is read from its beginning.
    """
    while not stop.is_set():
        splitter = _Splitter()
        with path.open("rb") as stream:
            while not stop.is_set():
                if chunk := stream.read(_CHUNK):
                    yield splitter.feed(chunk)
                elif poll_seconds is None:
                    yield splitter.rest()
                    return
                elif _was_replaced(path, stream):
                    break
                else:
                    stop.wait(poll_seconds)


def stdin_lines(stop: Event, descriptor: int = 0) -> Iterator[list[Line]]:
    """The lines of standard input as they arrive; ends soon after ``stop`` is set."""
    splitter = _Splitter()
    while not stop.is_set():
        if not select.select([descriptor], [], [], _STDIN_POLL_SECONDS)[0]:
            continue
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            yield splitter.rest()
            return
        yield splitter.feed(chunk)


def _was_replaced(path: Path, stream: BinaryIO) -> bool:
    try:
        current = path.stat()
    except FileNotFoundError:  # it may be just being replaced
        return False
    opened = os.fstat(stream.fileno())
    return not os.path.samestat(current, opened) or current.st_size < stream.tell()


class _Splitter:
    """Splits chunks into lines; skips to the end of a line that is too long."""

    def __init__(self) -> None:
        self._number = 0
        self._partial = b""
        self._too_long = False

    def feed(self, chunk: bytes) -> list[Line]:
        *ends, partial = chunk.split(b"\n")
        lines = [self._line(end) for end in ends]
        self._append(partial)
        return lines

    def rest(self) -> list[Line]:
        """The last line, if no newline follows it."""
        return [self._line(b"")] if self._partial or self._too_long else []

    def _line(self, end: bytes) -> Line:
        self._append(end)
        self._number += 1
        line = Line(self._number, None if self._too_long else self._partial)
        self._partial, self._too_long = b"", False
        return line

    def _append(self, more: bytes) -> None:
        self._too_long = self._too_long or len(self._partial) + len(more) > LINE_BYTES
        self._partial = b"" if self._too_long else self._partial + more

"""Lines of a text that may be endless, or still be growing, in constant memory."""

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
    """A line without its end; ``content`` is None when it is longer than ``LINE_BYTES``."""

    number: int
    content: bytes | None


def file_lines(path: Path, stop: Event, poll_seconds: float | None = None) -> Iterator[list[Line]]:
    """Lines of a file, as many at a time as were read at once.

    With ``poll_seconds`` it goes on as lines are appended, until ``stop``. A file that shrank or
    was put in the other's place is read from its beginning.
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
                elif _is_another(path, stream):
                    break
                else:
                    stop.wait(poll_seconds)


def stdin_lines(stop: Event, descriptor: int = 0) -> Iterator[list[Line]]:
    """Lines of standard input as they come; reading never outlasts ``stop`` by much."""
    splitter = _Splitter()
    while not stop.is_set():
        if not select.select([descriptor], [], [], _STDIN_POLL_SECONDS)[0]:
            continue
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            yield splitter.rest()
            return
        yield splitter.feed(chunk)


def _is_another(path: Path, stream: BinaryIO) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:  # perhaps its successor is just being put there
        return False
    mine = os.fstat(stream.fileno())
    return not os.path.samestat(there, mine) or there.st_size < stream.tell()


class _Splitter:
    """Chunks to lines; of a line that is too long, only its end is waited for."""

    def __init__(self) -> None:
        self._number = 0
        self._begun = b""
        self._too_long = False

    def feed(self, chunk: bytes) -> list[Line]:
        *ends, begun = chunk.split(b"\n")
        lines = [self._line(end) for end in ends]
        self._begin(begun)
        return lines

    def rest(self) -> list[Line]:
        """The last line, where no line end follows it."""
        return [self._line(b"")] if self._begun or self._too_long else []

    def _line(self, end: bytes) -> Line:
        self._begin(end)
        self._number += 1
        line = Line(self._number, None if self._too_long else self._begun)
        self._begun, self._too_long = b"", False
        return line

    def _begin(self, more: bytes) -> None:
        self._too_long = self._too_long or len(self._begun) + len(more) > LINE_BYTES
        self._begun = b"" if self._too_long else self._begun + more

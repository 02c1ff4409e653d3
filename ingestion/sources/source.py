"""What a source of images is, and what several sources share."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Protocol, TypeVar

from superres.errors import SuperresError
from superres.pipeline.records import ImageReference

Unit = TypeVar("Unit")
REMEMBERED = 1_000_000  # about 100 MB of digests


class Source(Protocol[Unit]):
    """Where references come from, in units of work for a pool of threads.

    ``units`` lists the units cheaply and in one thread: page numbers, lines, files. It ends once
    everything is listed or, when the source is followed, once ``stop`` is set. ``references`` does
    the slow part for one unit (queries a server, reads a file), in any thread.
    """

    def units(self, stop: Event) -> Iterator[Unit]:
        """The units of work."""

    def references(self, unit: Unit) -> list[ImageReference]:
        """The references of one unit.

        Raises ``SuperresError`` with one line when the unit cannot be read: the producer reports
        it, continues with the other units, and exits with 1 at the end.
        """


@dataclass(frozen=True)
class FailedUnit:
    """A unit of work that is an error: ``references`` raises it.

    So a bad line or an unreadable folder is reported like any other failure, and the other units
    are still processed.
    """

    error: SuperresError


class LeftOutError(SuperresError):
    """Names files that a source leaves out: reported like a failure, but it is none."""


class SingleImage:
    """One image, a file or a URL: one unit with one reference, which ``make`` returns."""

    def __init__(self, make: Callable[[], ImageReference]) -> None:
        self._make = make

    def units(self, stop: Event) -> Iterator[None]:
        """The one unit."""
        if not stop.is_set():
            yield None

    def references(self, unit: None) -> list[ImageReference]:
        """The one reference."""
        return [self._make()]


class Seen:
    """What a followed source has already yielded, in bounded memory.

    A set of strings that forgets those it has not met for the longest time. It keeps two
    generations of digests: when the young one holds half of ``capacity``, it becomes the old one,
    and the previous old one is forgotten. An item that was forgotten is yielded once more, which
    does no harm: it has the same image_id, and an image overwrites itself. Not thread-safe.
    """

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._half = max(1, capacity // 2)
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def add(self, text: str) -> bool:
        """Remembers a string; returns whether it is new."""
        digest = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=12).digest()
        new = digest not in self._young and digest not in self._old
        self._young.add(digest)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, set()
        return new

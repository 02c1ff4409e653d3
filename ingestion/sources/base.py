"""What a source of images is."""

from collections.abc import Iterator
from threading import Event
from typing import Protocol, TypeVar

from superres.pipeline.records import ImageReference

Unit = TypeVar("Unit")


class Source(Protocol[Unit]):
    """Where references come from, in units of work that a pool of threads takes on.

    ``units`` lists what there is, cheaply and in one thread: page numbers, lines, files. It ends
    when all is listed, or, where the source is followed, when ``stop`` is set. ``references`` does
    the slow part for one unit (asks a server, reads a file), in any thread.
    """

    def units(self, stop: Event) -> Iterator[Unit]:
        """The units of work."""

    def references(self, unit: Unit) -> list[ImageReference]:
        """The references of one unit.

        Raises ``SuperresError`` with one line when the unit cannot be had: the producer tells it,
        goes on, and exits with 1 in the end.
        """

"""One image: a file or a URL."""

from collections.abc import Callable, Iterator
from threading import Event

from superres.pipeline.records import ImageReference


class SingleSource:
    """One unit with one reference, which ``make`` makes."""

    def __init__(self, make: Callable[[], ImageReference]) -> None:
        self._make = make

    def units(self, stop: Event) -> Iterator[None]:
        """The one unit."""
        if not stop.is_set():
            yield None

    def references(self, unit: None) -> list[ImageReference]:
        """The one reference."""
        return [self._make()]

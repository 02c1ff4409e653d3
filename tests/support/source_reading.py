"""Takes from sources what they give, at once or as it comes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any

from ingestion.references import Wanted
from ingestion.sources.base import Source
from superres.errors import SuperresError
from superres.pipeline.records import ImageReference

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WANTED = Wanted("upscale", 2, lambda: NOON)
WAIT_SECONDS = 10.0


def taken(origin: Source[Any], threads: int = 4) -> tuple[list[ImageReference], list[str]]:
    """All references of a source, as a pool finds them, and what could not be had."""
    found: list[ImageReference] = []
    faults: list[str] = []
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(origin.references, unit) for unit in origin.units(Event())]:
            try:
                found += future.result()
            except SuperresError as error:
                faults.append(str(error))
    return found, faults


def urls_of(origin: Source[Any]) -> list[str]:
    found, faults = taken(origin)
    assert not faults
    return [reference.url for reference in found]


class Followed:
    """References of a source that is followed, as they come."""

    def __init__(self, origin: Source[Any], stop: Event) -> None:
        self._arrived: Queue[ImageReference | str] = Queue()
        self._origin, self.stop = origin, stop
        self.thread = Thread(target=self._follow)

    def _follow(self) -> None:
        for unit in self._origin.units(self.stop):
            try:
                for reference in self._origin.references(unit):
                    self._arrived.put(reference)
            except SuperresError as error:
                self._arrived.put(str(error))

    def next(self) -> str:
        """URL of the next reference, or what went wrong."""
        arrived = self._arrived.get(timeout=WAIT_SECONDS)
        return arrived if isinstance(arrived, str) else arrived.url

    def nothing(self, seconds: float) -> bool:
        try:
            self._arrived.get(timeout=seconds)
        except Empty:
            return True
        return False


@contextmanager
def following(origin: Source[Any]) -> Iterator[Followed]:
    followed = Followed(origin, Event())
    followed.thread.start()
    try:
        yield followed
    finally:
        followed.stop.set()
        followed.thread.join(WAIT_SECONDS)
    assert not followed.thread.is_alive()


def write(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path

"""Sources for tests, and ways to read one: all at once, or while it is followed."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any

from ingestion.references import Wanted
from ingestion.sources.source import Source
from superres.errors import SuperresError
from superres.pipeline.records import ImageReference

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
WANTED = Wanted("upscale", 2, lambda: NOON)
WAIT_SECONDS = 10.0


class NumberedSource:
    """A source of so many references, one per unit; the ``failing`` units fail."""

    def __init__(self, count: int, failing: Sequence[int] = (), endless: bool = False) -> None:
        self.count, self.failing, self.endless = count, failing, endless

    def units(self, stop: Event) -> Iterator[int]:
        yield from range(self.count)
        while self.endless and not stop.wait(0.05):
            pass

    def references(self, unit: int) -> list[ImageReference]:
        if unit in self.failing:
            raise SuperresError(f"unit {unit} is broken")
        return [WANTED.reference(f"{unit}", f"https://example.org/{unit}.jpg", "test")]


def read_all(source: Source[Any], threads: int = 4) -> tuple[list[ImageReference], list[str]]:
    """All references of a source, read by a pool of threads, and the errors of failed units."""
    references: list[ImageReference] = []
    errors: list[str] = []
    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(source.references, unit) for unit in source.units(Event())]:
            try:
                references += future.result()
            except SuperresError as error:
                errors.append(str(error))
    return references, errors


def urls_of(source: Source[Any]) -> list[str]:
    references, errors = read_all(source)
    assert not errors
    return [reference.url.full for reference in references]


class FollowedSource:
    """The references of a followed source, as they arrive."""

    def __init__(self, source: Source[Any], stop: Event) -> None:
        self._arrived: Queue[ImageReference | str] = Queue()
        self._source, self.stop = source, stop
        self.thread = Thread(target=self._follow)

    def _follow(self) -> None:
        for unit in self._source.units(self.stop):
            try:
                for reference in self._source.references(unit):
                    self._arrived.put(reference)
            except SuperresError as error:
                self._arrived.put(str(error))

    def next(self) -> str:
        """The URL of the next reference, or the error of a failed unit."""
        arrived = self._arrived.get(timeout=WAIT_SECONDS)
        return arrived if isinstance(arrived, str) else arrived.url.full

    def nothing_for(self, seconds: float) -> bool:
        """Whether nothing arrives for so long."""
        try:
            self._arrived.get(timeout=seconds)
        except Empty:
            return True
        return False


@contextmanager
def following(source: Source[Any]) -> Iterator[FollowedSource]:
    followed = FollowedSource(source, Event())
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

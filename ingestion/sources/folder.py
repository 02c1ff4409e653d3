"""Photographs in a local folder, those that are there and, followed, those that come."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from ingestion.references import Wanted
from ingestion.sources.faults import Fault
from ingestion.sources.seen import Seen
from ingestion.sources.settling import Settling
from ingestion.sources.walking import is_hidden, walk
from superres.errors import StorageError
from superres.imaging.files import SUFFIXES, is_image_name
from superres.pipeline.arrival import reference_to_file
from superres.pipeline.records import ImageReference

_TICK_MS, _GROUP_MS = 100, 200
_SCAN_SHARE = 10  # looking through everything takes at most a tenth of the time


class FolderSource:
    """Units are files; a folder that cannot be read is a unit that fails.

    Followed, the folder is watched before it is walked, so that nothing comes between. It is also
    walked again every ``follow_seconds``: for file systems that tell of no changes (NFS), and for
    the moment between a folder's coming and its being watched.

    Args:
        folder: walked with all folders in it.
        wanted: of every image.
        follow_seconds: between two walks when followed; None walks once.
        settle_seconds: without change after which a file is complete.
    """

    def __init__(
        self,
        folder: Path,
        wanted: Wanted,
        *,
        follow_seconds: float | None = None,
        settle_seconds: float = 0.5,
    ) -> None:
        self._folder = folder.absolute()
        self._wanted = wanted
        self._follow_seconds = follow_seconds
        self._settling = Settling(settle_seconds)
        self._told = Seen()

    def units(self, stop: Event) -> Iterator[Path | Fault]:
        """Files by name, then as they come."""
        if self._follow_seconds is None:
            return self._walked(stop)
        return self._followed(stop, self._follow_seconds)

    def references(self, unit: Path | Fault) -> list[ImageReference]:
        """The reference to one file; reads it for the digest of its content."""
        if isinstance(unit, Fault):
            raise unit.error
        wanted = self._wanted
        return [reference_to_file(unit, wanted.mode, wanted.scale, wanted.now())]

    def _walked(self, stop: Event) -> Iterator[Path | Fault]:
        unit: Path | Fault | None = None
        for unit in walk(self._folder):
            if stop.is_set():
                return
            yield unit
        if unit is None:
            kinds = ", ".join(sorted(SUFFIXES))
            yield Fault(StorageError(f"{self._folder}: no image file in it; looked for {kinds}"))

    def _followed(self, stop: Event, follow_seconds: float) -> Iterator[Path | Fault]:
        changes = self._changes(stop)
        first = next(changes, None)  # the watch stands once it has answered
        if first is None:
            return
        yield from self._scanned(stop)
        yield from self._arrived(first)
        scan_at = time.monotonic() + follow_seconds
        for changed in changes:
            yield from self._arrived(changed)
            if time.monotonic() >= scan_at:
                begun = time.monotonic()
                yield from self._scanned(stop)
                took = time.monotonic() - begun
                scan_at = time.monotonic() + max(follow_seconds, _SCAN_SHARE * took)
            yield from self._settling.ready()

    def _changes(self, stop: Event) -> Iterator[list[Path]]:
        """Paths that have changed, several times a second even when none have."""
        from watchfiles import Change, watch

        try:
            for changes in watch(
                self._folder,
                watch_filter=None,
                debounce=_GROUP_MS,
                rust_timeout=_TICK_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
                stop_event=stop,
            ):
                yield sorted(Path(path) for kind, path in changes if kind != Change.deleted)
        except OSError as error:
            reason = f"{self._folder}: cannot be watched: {error.strerror or error}"
            raise StorageError(reason) from None

    def _scanned(self, stop: Event) -> Iterator[Path | Fault]:
        for unit in walk(self._folder):
            if stop.is_set():
                return
            if isinstance(unit, Fault):
                if self._told.add(str(unit.error)):
                    yield unit
            elif self._settling.take(unit):
                yield unit

    def _arrived(self, paths: list[Path]) -> Iterator[Fault]:
        for path in paths:
            if any(map(is_hidden, path.relative_to(self._folder).parts)):
                continue
            for unit in walk(path) if path.is_dir() else [path]:
                if isinstance(unit, Fault):
                    if self._told.add(str(unit.error)):
                        yield unit
                elif is_image_name(unit.name):
                    self._settling.note(unit)

"""Image files in a local folder: those already there and, when followed, new ones."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

from ingestion.references import Wanted
from ingestion.sources.settling import Settling
from ingestion.sources.source import FailedUnit, LeftOutError, Seen
from ingestion.sources.walking import is_hidden, walk
from superres.errors import StorageError, SuperresError
from superres.imaging.files import SUFFIXES, is_image_name
from superres.imaging.names import readable
from superres.pipeline.arrival import reference_to_file
from superres.pipeline.output_folder import is_result, results_in
from superres.pipeline.records import ImageReference
from superres.pipeline.source_path import path_of_file

_TICK_MS, _DEBOUNCE_MS = 100, 200
_SCAN_SHARE = 10  # walking the whole folder takes at most a tenth of the time


class FolderSource:
    """Units are files; a folder that cannot be read is a unit that fails.

    When followed, the folder is watched before it is walked, so that no file is missed in between.
    It is also walked again every ``follow_seconds``: for file systems that report no changes (NFS),
    and for the moment between the creation of a subfolder and the start of its watch.

    Args:
        folder: walked with all its subfolders.
        wanted: how to process every image.
        follow_seconds: between two walks when followed; None walks once.
        settle_seconds: a file that has not changed for so long is complete.
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
        self._reported = Seen()

    def units(self, stop: Event) -> Iterator[Path | FailedUnit]:
        """Files by name, then as they arrive."""
        if self._follow_seconds is None:
            return self._walked(stop)
        return self._followed(stop, self._follow_seconds)

    def references(self, unit: Path | FailedUnit) -> list[ImageReference]:
        """The reference to one file; reads it for the digest of its content."""
        if isinstance(unit, FailedUnit):
            raise unit.error
        wanted = self._wanted
        path = path_of_file(unit, self._folder)
        return [reference_to_file(unit, wanted.mode, wanted.scale, wanted.now(), path)]

    def _walked(self, stop: Event) -> Iterator[Path | FailedUnit]:
        is_empty = True
        for unit in walk(self._folder):
            if stop.is_set():
                return
            yield unit
            left_out = isinstance(unit, FailedUnit) and isinstance(unit.error, LeftOutError)
            is_empty = is_empty and left_out
        if is_empty:
            kinds = ", ".join(sorted(SUFFIXES))
            folder = readable(str(self._folder))
            reason = f"{folder}: contains no image file; looked for {kinds}"
            yield FailedUnit(StorageError(reason))

    def _followed(self, stop: Event, follow_seconds: float) -> Iterator[Path | FailedUnit]:
        scan_at = 0.0
        # From its first answer on, the watch is active.
        for changed in self._changes(stop):
            yield from self._note_changes(changed or [])
            if changed is None or time.monotonic() >= scan_at:
                start = time.monotonic()
                yield from self._scanned(stop)
                took = time.monotonic() - start
                scan_at = time.monotonic() + max(follow_seconds, _SCAN_SHARE * took)
            yield from self._settling.ready()

    def _changes(self, stop: Event) -> Iterator[list[Path] | None]:
        """Paths that have changed, as in ``changes_in``."""
        from watchfiles import Change

        from superres.service.folder_watch import changes_in

        try:
            for changes in changes_in(self._folder, stop, debounce=_DEBOUNCE_MS, tick=_TICK_MS):
                if changes is None:
                    yield None
                else:
                    yield sorted(Path(path) for kind, path in changes if kind != Change.deleted)
        except OSError as error:
            reason = f"cannot be watched: {error.strerror or error}"
            raise StorageError(f"{readable(str(self._folder))}: {reason}") from None

    def _scanned(self, stop: Event) -> Iterator[Path | FailedUnit]:
        for unit in walk(self._folder):
            if stop.is_set():
                return
            if isinstance(unit, FailedUnit):
                if self._reported.add(str(unit.error)):
                    yield unit
            elif self._settling.is_ready(unit):
                yield unit

    def _note_changes(self, paths: list[Path]) -> Iterator[FailedUnit]:
        for path in paths:
            if any(map(is_hidden, path.relative_to(self._folder).parts)):
                continue
            for unit in walk(path) if path.is_dir() else [path]:
                if isinstance(unit, FailedUnit):
                    if self._reported.add(str(unit.error)):
                        yield unit
                elif is_image_name(unit.name) and not _is_result(unit):
                    self._settling.note(unit)


def _is_result(file: Path) -> bool:
    """Whether a file that has changed is a result of our own."""
    try:
        return is_result(file.name, results_in(file.parent))
    except SuperresError:  # reported when the folder is walked
        return False

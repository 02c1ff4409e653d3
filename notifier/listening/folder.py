"""Watches a local results folder, so that records are read as soon as they are written."""

import math
import os
import time
from pathlib import Path
from threading import Event

from watchfiles import Change

from notifier.listening.outage import Outage
from notifier.listening.reading import KINDS, Reader, local_tag
from notifier.listening.scan import MAX_FAILURES
from superres.errors import RecordError, StorageError
from superres.service.folder_watch import changes_in

# Changes are reported within two steps, and after the group time while they keep coming.
_STEP_MS, _GROUP_MS, _TICK_MS = 20, 100, 200
_MISSING_FOLDER_SECONDS = 0.1
_NEW_FOLDER_SECONDS = 1.0
_MAX_RETRY_SECONDS = 5.0


class FolderWatch:
    """Reads the records that appear in the results folder of a reader, from one thread.

    The folder may not exist yet, and may be deleted and created again. Files must appear under
    their final name when they are complete. Setting ``scan_due`` starts a scan: whenever watching
    begins, it finds the records that were there before.
    """

    def __init__(self, reader: Reader, scan_due: Event) -> None:
        self._reader = reader
        self._scan_due = scan_due
        self._folder = Path(reader.results)
        self._outage = Outage("records of the folder", _MAX_RETRY_SECONDS, reader)
        self._unread: dict[str, None] = {}  # records to retry, in order
        self._retry_at = 0.0
        self._scan_at = math.inf

    def keep_watching(self, stop: Event) -> None:
        """Watches until ``stop`` is set."""
        outage = Outage("watch", _MAX_RETRY_SECONDS, self._reader)
        while not stop.is_set():
            try:
                if (watched := self._identity()) is None:
                    stop.wait(_MISSING_FOLDER_SECONDS)
                else:
                    self._watch(watched, outage, stop)
            except OSError as error:
                stop.wait(outage.failure(error))

    def _watch(self, watched: tuple[int, int], outage: Outage, stop: Event) -> None:
        self._scan_at = 0.0
        for changes in changes_in(
            self._folder, stop, debounce=_GROUP_MS, tick=_TICK_MS, step=_STEP_MS
        ):
            outage.end()
            if changes is None:
                self._scan_at = 0.0
            changed = changes or set()
            if time.monotonic() >= self._scan_at:
                self._scan_at = math.inf
                self._scan_due.set()
            for path in sorted(path for kind, path in changed if kind != Change.deleted):
                self._changed(path)
            if self._unread and time.monotonic() >= self._retry_at:
                self._retry()
            # A folder that was deleted or moved and created again is another one, which is not
            # watched; it may even have the same inode number.
            if (Change.deleted, str(self._folder)) in changed or self._identity() != watched:
                return

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino

    def _changed(self, path: str) -> None:
        if self._reader.kind_of(path):
            self._reader.metrics.events.inc()
            self._read(path)
        elif self._is_relevant(path) and Path(path).is_dir():
            # Files that appear in it before it is itself watched are not reported.
            self._scan_at = time.monotonic() + _NEW_FOLDER_SECONDS
            for folder, _, names in os.walk(path):
                for name in names:
                    self._read(os.path.join(folder, name))  # noqa: PTH118  # as watch reports it

    def _is_relevant(self, path: str) -> bool:
        parts = Path(path).relative_to(self._folder).parts
        return parts[:1] in [(kind,) for kind in KINDS]

    def _read(self, path: str) -> None:
        """Reads a record, or postpones it while so many have failed that none can be read."""
        if not self._reader.kind_of(path):
            return
        if path in self._unread or len(self._unread) < MAX_FAILURES:
            self._try(path)
        else:
            self._unread[path] = None

    def _try(self, path: str) -> bool:
        self._unread.pop(path, None)
        try:
            if (tag := local_tag(path)) is not None:
                self._reader.read(path, tag)
        except RecordError:
            return True
        except StorageError as error:
            self._unread[path] = None
            if time.monotonic() >= self._retry_at:
                self._retry_at = time.monotonic() + self._outage.failure(error)
            return False
        return True

    def _retry(self) -> None:
        failures = 0
        for path in list(self._unread):
            failures += not self._try(path)
            if failures == MAX_FAILURES:
                return
        if not failures:
            self._outage.end()

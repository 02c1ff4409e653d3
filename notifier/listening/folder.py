"""Watches a local results folder, so that an image is shown as soon as its record is written."""

import math
import os
import time
from pathlib import Path
from threading import Event

from watchfiles import Change, watch

from notifier.listening.outage import Outage
from notifier.listening.reading import KINDS, Reader, local_tag
from notifier.listening.scan import MOST_FAILURES
from superres.errors import RecordError, StorageError

# Changes are told within two steps, and at the latest after the group time while they keep coming.
_STEP_MS, _GROUP_MS, _TICK_MS = 20, 100, 200
_ABSENT_SECONDS = 0.1
_SETTLED_SECONDS = 1.0
_LONGEST_SECONDS = 5.0


class FolderWatch:
    """Reads the records that come into the results folder of a reader, from one thread.

    The folder may not be there yet, and may go and come again. Files are expected to appear under
    their name when they are complete. ``due`` is set whenever the watch begins: what was there
    before is for a scan to find.
    """

    def __init__(self, reader: Reader, due: Event) -> None:
        self._reader = reader
        self._due = due
        self._folder = Path(reader.results)
        self._outage = Outage("records of the folder", _LONGEST_SECONDS, reader)
        self._waiting: dict[str, None] = {}  # records to try again, in order
        self._try_at = 0.0
        self._scan_at = math.inf

    def keep_watching(self, stop: Event) -> None:
        """Until ``stop`` is set."""
        outage = Outage("watch", _LONGEST_SECONDS, self._reader)
        while not stop.is_set():
            try:
                if (watched := self._identity()) is None:
                    stop.wait(_ABSENT_SECONDS)
                else:
                    self._watch(watched, outage, stop)
            except OSError as error:
                stop.wait(outage.failed(error))

    def _watch(self, watched: tuple[int, int], outage: Outage, stop: Event) -> None:
        self._scan_at = 0.0
        for changed in watch(
            self._folder,
            watch_filter=None,
            debounce=_GROUP_MS,
            step=_STEP_MS,
            rust_timeout=_TICK_MS,
            yield_on_timeout=True,
            ignore_permission_denied=True,
            stop_event=stop,
        ):
            outage.over()
            if time.monotonic() >= self._scan_at:
                self._scan_at = math.inf
                self._due.set()
            for path in sorted(path for kind, path in changed if kind != Change.deleted):
                self._arrived(path)
            if self._waiting and time.monotonic() >= self._try_at:
                self._try_waiting()
            # A folder that was deleted or moved and made again is another one, of which nothing is
            # told; it may even have the same number.
            if (Change.deleted, str(self._folder)) in changed or self._identity() != watched:
                return

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._folder.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_dev, status.st_ino

    def _arrived(self, path: str) -> None:
        if self._reader.kind_of(path):
            self._reader.metrics.events.inc()
            self._read(path)
        elif self._is_ours(path) and Path(path).is_dir():
            # What came into it before it was itself watched is not told, nor what comes just now.
            self._scan_at = time.monotonic() + _SETTLED_SECONDS
            for folder, _, names in os.walk(path):
                for name in names:
                    self._read(os.path.join(folder, name))  # noqa: PTH118  # as watch tells it

    def _is_ours(self, path: str) -> bool:
        parts = Path(path).relative_to(self._folder).parts
        return parts[:1] in [(kind,) for kind in KINDS]

    def _read(self, path: str) -> None:
        """Reads it, or puts it off at once while so many wait that none can be had."""
        if not self._reader.kind_of(path):
            return
        if path in self._waiting or len(self._waiting) < MOST_FAILURES:
            self._try(path)
        else:
            self._waiting[path] = None

    def _try(self, path: str) -> bool:
        self._waiting.pop(path, None)
        try:
            if (tag := local_tag(path)) is not None:
                self._reader.read(path, tag)
        except RecordError:
            return True
        except StorageError as error:
            self._waiting[path] = None
            if time.monotonic() >= self._try_at:
                self._try_at = time.monotonic() + self._outage.failed(error)
            return False
        return True

    def _try_waiting(self) -> None:
        failures = 0
        for path in list(self._waiting):
            failures += not self._try(path)
            if failures == MOST_FAILURES:
                return
        if not failures:
            self._outage.over()

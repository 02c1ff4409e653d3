"""Scans storage for records that events missed."""

import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Event

import structlog

from notifier.listening.outage import Outage
from notifier.listening.reading import KINDS, Reader, local_tag
from notifier.store.images import known_tags
from notifier.store.runs import known_run_tags
from superres.errors import RecordError, StorageError
from superres.pipeline import storage
from superres.pipeline.storage import StoredFile

MAX_FAILURES = 10
"""After so many unreadable files, storage or database are considered unavailable."""

_CHUNK = 500
_S3_THREADS = 8
_TICK_SECONDS = 0.2
_DATE = re.compile(r"/ingest_date=(\d{4}-\d{2}-\d{2})/")

_log = structlog.get_logger()


@dataclass(frozen=True)
class Scanned:
    """Number of records, number of new ones, and why one of them could not be read."""

    listed: int
    recorded: int
    failure: StorageError | None


class Scanner:
    """Scans the results of a reader, from one thread."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._failed: dict[str, StorageError] = {}

    def keep_scanning(self, due: Event, stop: Event, interval: float) -> None:
        """Scans at once, then periodically and when ``due`` is set, until ``stop`` is set."""
        outage = Outage("scan", interval, self._reader, general=True)
        single = Outage("records of the scan", interval, self._reader)
        while not stop.is_set():
            due.clear()
            begun = time.monotonic()
            wait = interval
            try:
                scanned = self.scan(stop)
            except StorageError as error:
                wait = outage.failure(error)
            else:
                outage.end()
                if scanned.failure is None:
                    single.end()
                else:
                    wait = single.failure(scanned.failure)
                if scanned.recorded:
                    seconds = round(time.monotonic() - begun, 3)
                    _log.info("caught_up", recorded=scanned.recorded, seconds=seconds)
            until = time.monotonic() + wait
            while time.monotonic() < until and not due.is_set() and not stop.is_set():
                stop.wait(_TICK_SECONDS)

    def scan(self, stop: Event) -> Scanned:
        """Reads every record that the database does not know, newest dates first.

        Raises ``StorageError`` when storage or database fail. A few unreadable files do not stop
        the scan, and are tried last the next time.
        """
        reader = self._reader
        files = self._list_files()
        self._failed = {}
        recorded, unknown = 0, set[str]()
        threads = _S3_THREADS if storage.is_s3(reader.results) else 1
        with ThreadPoolExecutor(threads, "listening-read") as pool:
            for start in range(0, len(files), _CHUNK):
                if stop.is_set() or len(self._failed) >= MAX_FAILURES:
                    break
                new = self._unknown(files[start : start + _CHUNK])
                unknown.update(uri for uri, _ in new)
                unread = [(uri, tag) for uri, tag in new if not reader.is_settled(uri, tag)]
                recorded += sum(pool.map(partial(self._read, stop), unread))
        failure = next(iter(self._failed.values()), None)
        if failure is not None and len(self._failed) >= MAX_FAILURES:
            raise failure
        if not stop.is_set():
            reader.keep_settled(unknown)
            reader.metrics.scanned.set_to_current_time()
        return Scanned(len(files), recorded, failure)

    def _list_files(self) -> list[StoredFile]:
        reader = self._reader
        folders = (storage.join(reader.results, kind) for kind in KINDS)
        found = [file for folder in folders for file in storage.list_files(folder)]
        files = [file for file in found if reader.kind_of(file.uri)]
        # Manifests, which have no date, are few and come first.
        files.sort(key=lambda file: date[1] if (date := _DATE.search(file.uri)) else "~")
        files.reverse()
        files.sort(key=lambda file: file.uri in self._failed)
        return files

    def _unknown(self, files: Sequence[StoredFile]) -> list[tuple[str, str]]:
        """Returns URI and tag of the files that the database does not know."""
        reader = self._reader
        images = [file.stem for file in files if reader.kind_of(file.uri) == "evaluations"]
        with reader.database.reading() as session:
            known = known_tags(session, images)
            if len(images) < len(files):
                known |= {
                    storage.join(reader.results, "runs", f"{name}.json"): tag
                    for name, tag in known_run_tags(session).items()
                }
        tagged = ((file.uri, file.etag or local_tag(file.uri)) for file in files)
        return [(uri, tag) for uri, tag in tagged if tag is not None and known.get(uri) != tag]

    def _read(self, stop: Event, version: tuple[str, str]) -> bool:
        uri, tag = version
        if stop.is_set() or len(self._failed) >= MAX_FAILURES:
            return False
        try:
            return self._reader.read(uri, tag)
        except RecordError:
            return False
        except StorageError as error:
            self._failed[uri] = error
            return False

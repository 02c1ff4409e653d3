"""Reads the records among the results, and stores them in the database.

Scans, the watched folder and queues all use this, in any order and any number of times.
"""

import stat
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import structlog

from notifier.listening.prometheus_metrics import Metrics
from notifier.recording import record_image, record_status
from notifier.store.database import Database
from notifier.store.runs import status_of_manifest
from superres.errors import RecordError, StorageError
from superres.pipeline import storage
from superres.pipeline.records import Evaluation, RunManifest

Kind = Literal["evaluations", "runs"]
KINDS: tuple[Kind, Kind] = ("evaluations", "runs")

_log = structlog.get_logger()


class Reader:
    """Reads the records of one results folder or prefix; for many threads.

    It remembers versions that were not new or cannot be read: an image that was ingested on two
    days has two records, and the database only keeps the newer one.

    Args:
        results: absolute path or ``s3://`` URI.
        database: stores the records.
        metrics: counts them.

    Attributes:
        failing: what keeps the notifier from finding any new result, with the reason.
    """

    def __init__(self, results: str, database: Database, metrics: Metrics) -> None:
        self.results = results.rstrip("/")
        self.database = database
        self.metrics = metrics
        self.failing: dict[str, str] = {}
        self._settled: dict[str, str] = {}

    def kind_of(self, uri: str) -> Kind | None:
        """Returns the kind of record at a location; None if it is not a record."""
        kind, _, rest = uri.removeprefix(f"{self.results}/").partition("/")
        hidden = any(part.startswith((".", "_")) for part in rest.split("/"))
        if not uri.startswith(f"{self.results}/") or hidden or not rest.endswith(".json"):
            return None
        return next((each for each in KINDS if each == kind), None)

    def read(self, uri: str, tag: str) -> bool:
        """Stores a record; returns whether it was new. One that no longer exists is not.

        Args:
            uri: a location for which ``kind_of`` returns a kind.
            tag: identifies the version: the ETag, or ``local_tag``.

        Raises:
            RecordError: it cannot be understood; this is logged once per version.
            StorageError: storage or database do not answer.
        """
        content = _read_existing(uri)
        if content is None:
            return False
        try:
            new = self._record(uri, tag, content)
        except RecordError as error:
            if self._settled.get(uri) != tag:
                self.metrics.unreadable.inc()
                _log.error("record_unreadable", uri=uri, reason=str(error))
            self._settled[uri] = tag
            raise
        if new:
            self.metrics.recorded.inc()
            _log.info("recorded", uri=uri)
        else:
            self._settled[uri] = tag
        return new

    def is_settled(self, uri: str, tag: str) -> bool:
        """Whether this version was read before, and was not new or not readable."""
        return self._settled.get(uri) == tag

    def keep_settled(self, uris: Collection[str]) -> None:
        """Forgets the versions of all other locations."""
        for uri in self._settled.keys() - uris:
            self._settled.pop(uri, None)

    def _record(self, uri: str, tag: str, content: bytes) -> bool:
        stem = uri.rsplit("/", 1)[-1].removesuffix(".json")
        if self.kind_of(uri) == "runs":
            manifest = RunManifest.from_json(content, uri)
            _check_name(uri, stem, manifest.name)
            return record_status(self.database, status_of_manifest(manifest), tag)
        evaluation = Evaluation.from_json(content, uri)
        _check_name(uri, stem, evaluation.image_id)
        return record_image(self.database, evaluation, uri, tag)


def local_tag(path: str) -> str | None:
    """Identifies the version of a local file; None if there is none. Raises ``StorageError``."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot read its status: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        return None  # reading a pipe would block
    return f"{status.st_mtime_ns}:{status.st_size}"


def _read_existing(uri: str) -> bytes | None:
    try:
        return storage.read_bytes(uri)
    except StorageError:
        if storage.exists(uri):
            raise
        return None  # a job that runs again has deleted it


def _check_name(uri: str, expected: str, named: str) -> None:
    # Known records are looked up by the name of their file.
    if named != expected:
        raise RecordError(f"{uri}: this is the record of {named}; its file must have the same name")

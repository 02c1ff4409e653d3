"""Reads the records that lie among the results, and records what they say.

Wherever a record is heard of (a scan, the watched folder, a queue), it comes through here: nothing
depends on how often or in which order.
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

    It remembers which versions told nothing new or cannot be read: an image that was ingested on
    two days has two records, and the store knows but the newer one.

    Args:
        results: absolute path or ``s3://`` URI.
        database: where what they say is recorded.
        metrics: where that is counted.

    Attributes:
        failing: what keeps us from hearing of anything at all, and why.
    """

    def __init__(self, results: str, database: Database, metrics: Metrics) -> None:
        self.results = results.rstrip("/")
        self.database = database
        self.metrics = metrics
        self.failing: dict[str, str] = {}
        self._settled: dict[str, str] = {}

    def kind_of(self, uri: str) -> Kind | None:
        """What a file holds by where it lies; None for all that is not ours to read."""
        kind, _, rest = uri.removeprefix(f"{self.results}/").partition("/")
        hidden = any(part.startswith((".", "_")) for part in rest.split("/"))
        if not uri.startswith(f"{self.results}/") or hidden or not rest.endswith(".json"):
            return None
        return next((each for each in KINDS if each == kind), None)

    def read(self, uri: str, tag: str) -> bool:
        """Records a record; whether it told anything new. One that is gone tells nothing.

        Args:
            uri: for which ``kind_of`` knows a kind.
            tag: of the version: the ETag, or ``local_tag``.

        Raises:
            RecordError: it cannot be understood; that is logged, once for a version.
            StorageError: storage or database do not answer.
        """
        content = _content(uri)
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
        """Whether reading this version before told nothing that the store keeps."""
        return self._settled.get(uri) == tag

    def keep_settled(self, uris: Collection[str]) -> None:
        """Forgets all but these."""
        for uri in self._settled.keys() - uris:
            self._settled.pop(uri, None)

    def _record(self, uri: str, tag: str, content: bytes) -> bool:
        stem = uri.rsplit("/", 1)[-1].removesuffix(".json")
        if self.kind_of(uri) == "runs":
            manifest = RunManifest.from_json(content, uri)
            _check_name(uri, stem, manifest.run_id)
            return record_status(self.database, status_of_manifest(manifest), tag)
        evaluation = Evaluation.from_json(content, uri)
        _check_name(uri, stem, evaluation.image_id)
        return record_image(self.database, evaluation, uri, tag)


def local_tag(path: str) -> str | None:
    """Tells versions of a local file apart; None when it is gone. Raises ``StorageError``."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(f"{path}: cannot look up: {error.strerror or error}") from error
    if not stat.S_ISREG(status.st_mode):
        return None  # a pipe would be waited for
    return f"{status.st_mtime_ns}:{status.st_size}"


def _content(uri: str) -> bytes | None:
    try:
        return storage.read_bytes(uri)
    except StorageError:
        if storage.exists(uri):
            raise
        return None  # a job that does it again has deleted it


def _check_name(uri: str, expected: str, named: str) -> None:
    # What is known is found by the name of the file.
    if named != expected:
        raise RecordError(f"{uri}: the record is of {named}; its file must have the same name")

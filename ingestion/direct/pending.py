"""Uploads without a broker: their references wait in storage until their images are stored.

An upload is accepted once its reference lies beside the uploaded files, below ``pending/``. A
thread of the service stores the image and then deletes the reference, so that whatever is left by
a process that ended is finished by the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread
from time import monotonic

import structlog
from prometheus_client import CollectorRegistry

from ingestion.consumer.handling import Handler
from ingestion.direct.storing import handler_without_broker, store_all
from superres.errors import StorageError
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.records import ImageReference

_log = structlog.get_logger()
_RESCAN_SECONDS = 30.0  # between two listings while nothing is uploaded
_FOLDER = "pending"


class PendingUploads:
    """Keeps references in storage and stores their images; safe for many threads.

    Create it in the process that uses it: threads do not survive a fork.

    Args:
        settings: where uploads and images are stored.
        running: whether the service is still running; once it is not, what was begun is finished.
    """

    def __init__(self, settings: Settings, running: Callable[[], bool]) -> None:
        self.registry = CollectorRegistry()
        self._settings = settings
        self._running = running
        self._folder = storage.join(storage.absolute(settings.ingestion.uploads_dir), _FOLDER)
        self._arrived = Event()
        self._begun: dict[bytes, str] = {}  # by content, the URI of each reference in progress
        self._handler: Handler | None = None
        self._thread = Thread(target=self._store, name="pending", daemon=True)
        self._thread.start()

    def publish(self, references: Sequence[ImageReference]) -> None:
        """Returns once every reference is in storage; raises ``StorageError`` when one is not."""
        for reference in references:
            name = f"{reference.ingest_date}-{reference.image_id}.json"
            content = reference.to_message().encode()
            storage.write_bytes(storage.join(self._folder, name), content)
        self._arrived.set()

    def alive(self) -> str:
        """Returns why only a restart helps; empty while images are being stored."""
        return "" if self._thread.is_alive() else "uploads are not being stored; see the log"

    def ready(self) -> str:
        """Returns why images cannot be stored; empty when they can."""
        failing = self._handler.storage_health.failing if self._handler and self._begun else ""
        return self.alive() or failing

    def _store(self) -> None:
        with handler_without_broker(self._settings, self.registry) as handler:
            self._handler = handler
            store_all(handler, self._references(), lambda: not self._running(), self._forget)

    def _references(self) -> Iterator[bytes | None]:
        """Yields each reference once, as soon as it is there; never ends."""
        due = monotonic()
        while True:
            if self._arrived.is_set() or monotonic() >= due:
                self._arrived.clear()
                yield from self._listed()
                due = monotonic() + _RESCAN_SECONDS
            yield None

    def _listed(self) -> Iterator[bytes]:
        try:
            found = [file.uri for file in storage.list_files(self._folder)]
        except StorageError as error:
            _log.warning("pending_not_listed", reason=str(error))
            return
        for uri in found:
            if uri in self._begun.values():
                continue
            try:
                content = storage.read_bytes(uri)
            except StorageError as error:
                # It is still there at the next listing.
                _log.warning("pending_not_read", reason=str(error))
                continue
            self._begun[content] = uri
            yield content

    def _forget(self, content: bytes) -> None:
        """Deletes a finished reference; if that fails, its image is stored once more."""
        uri = self._begun.pop(content)
        try:
            storage.delete(uri)
        except StorageError as error:
            _log.warning("pending_not_deleted", reason=str(error))

"""Starts the threads that listen for finished images and runs, as configured."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Event, Thread

import structlog
from prometheus_client import CollectorRegistry

from notifier.listening.folder import FolderWatch
from notifier.listening.prometheus_metrics import new_metrics
from notifier.listening.reading import Reader
from notifier.listening.scan import Scanner
from notifier.store.database import Database
from superres.errors import ConfigError
from superres.pipeline import storage
from superres.pipeline.config import Settings

_RESTART_SECONDS = 5.0

_log = structlog.get_logger()


@dataclass(frozen=True)
class Listening:
    """The threads that listen, and the reader they share."""

    reader: Reader
    threads: list[Thread]


def check_queues(settings: Settings) -> None:
    """Raises ``ConfigError`` for a queue of S3 events when the results are local."""
    results = settings.dataset.reconstructed_images_dir
    if settings.notifier.events_queue_url and not storage.is_s3(results):
        raise ConfigError(
            f"notifier.events_queue_url: the results are in {results}, not in S3; "
            "remove it, or set dataset.reconstructed_images_dir to an s3:// URI"
        )


def start_listening(
    settings: Settings, database: Database, stop: Event, registry: CollectorRegistry
) -> Listening:
    """Starts threads, which end within seconds after ``stop`` is set.

    A local results folder is watched, results in S3 are announced by the configured queues, and
    both are scanned every ``rescan_seconds``. Several processes may listen for one database.
    """
    notifier = settings.notifier
    results = storage.absolute(settings.dataset.reconstructed_images_dir)
    reader = Reader(results, database, new_metrics(registry))
    scan_due = Event()
    loops: dict[str, Callable[[], None]] = {
        "scan": partial(Scanner(reader).keep_scanning, scan_due, stop, notifier.rescan_seconds)
    }
    if not storage.is_s3(results):
        loops["folder"] = partial(FolderWatch(reader, scan_due).keep_watching, stop)
    if notifier.events_queue_url or notifier.runs_queue_url:
        # boto3 is only imported where there are queues.
        from notifier.listening.queues import Queue, handle_status, handle_stored, keep_polling

        for name, url, handle in (
            ("events", notifier.events_queue_url, handle_stored),
            ("runs", notifier.runs_queue_url, handle_status),
        ):
            if url:
                queue = Queue(name, url, partial(handle, reader))
                loops[name] = partial(keep_polling, queue, reader, stop)
    threads = [
        Thread(target=_run_forever, args=(loop, stop), name=f"listening-{name}", daemon=True)
        for name, loop in loops.items()
    ]
    for thread in threads:
        thread.start()
    _log.info("listening", results=results, by=sorted(loops))
    return Listening(reader, threads)


def _run_forever(loop: Callable[[], None], stop: Event) -> None:
    while not stop.is_set():
        try:
            loop()
        except Exception:
            _log.exception("unexpected_error")
            stop.wait(_RESTART_SECONDS)

"""Starts what tells the notifier of finished images, as the configuration has it."""

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
class Intake:
    """What runs until it is told to stop."""

    reader: Reader
    threads: list[Thread]

    def failing(self) -> str:
        """What keeps it from hearing of anything new; empty when all is well."""
        return "; ".join(f"{what}: {why}" for what, why in list(self.reader.failing.items()))


def check_queues(settings: Settings) -> None:
    """Raises ``ConfigError`` for a queue of S3 events beside local results: none would be ours."""
    results = settings.dataset.reconstructed_images_dir
    if settings.notifier.events_queue_url and not storage.is_s3(results):
        raise ConfigError(
            f"notifier.events_queue_url: the results are in {results}, not in S3; "
            "give none, or set dataset.reconstructed_images_dir to an s3:// URI"
        )


def start_intake(
    settings: Settings, database: Database, stop: Event, registry: CollectorRegistry
) -> Intake:
    """Starts the threads of the intake; they end within seconds after ``stop`` is set.

    Results in a local folder are watched, those in S3 are told by the queues that are configured;
    both are looked through every ``rescan_seconds``. Several processes may do this at once on one
    database.
    """
    notifier = settings.notifier
    results = storage.absolute(settings.dataset.reconstructed_images_dir)
    reader = Reader(results, database, new_metrics(registry))
    due = Event()
    bodies: dict[str, Callable[[], None]] = {
        "scan": partial(Scanner(reader).keep_scanning, due, stop, notifier.rescan_seconds)
    }
    if not storage.is_s3(results):
        bodies["folder"] = partial(FolderWatch(reader, due).keep_watching, stop)
    if notifier.events_queue_url or notifier.runs_queue_url:
        # boto3 is only imported where there are queues.
        from notifier.listening.queues import Queue, handle_status, handle_stored, keep_polling

        for name, url, handle in (
            ("events", notifier.events_queue_url, handle_stored),
            ("runs", notifier.runs_queue_url, handle_status),
        ):
            if url:
                queue = Queue(name, url, partial(handle, reader))
                bodies[name] = partial(keep_polling, queue, reader, stop)
    threads = [
        Thread(target=_keep_going, args=(body, stop), name=f"intake-{name}", daemon=True)
        for name, body in bodies.items()
    ]
    for thread in threads:
        thread.start()
    _log.info("intake", results=results, by=sorted(bodies))
    return Intake(reader, threads)


def _keep_going(body: Callable[[], None], stop: Event) -> None:
    while not stop.is_set():
        try:
            body()
        except Exception:
            _log.exception("unexpected")
            stop.wait(_RESTART_SECONDS)

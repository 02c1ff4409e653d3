"""Listening for results in this process, and what the database then holds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from prometheus_client import CollectorRegistry

from notifier.listening.start import Listening, start_listening
from notifier.store.database import Database
from notifier.store.images import image_of, page_of
from notifier.store.runs import RunStatus, runs_of
from superres.pipeline.config import Settings
from superres.pipeline.config_file import validated
from superres.pipeline.records import Evaluation
from tests.support.evaluation_records import image_id


def settings_for(results: str, **notifier: object) -> Settings:
    content = {"dataset": {"reconstructed_images_dir": results}, "notifier": notifier}
    return validated(content, "test")


@contextmanager
def listening(settings: Settings, database: Database) -> Iterator[Listening]:
    """Listens until the block ends; then all threads must end quickly."""
    stop = Event()
    running = start_listening(settings, database, stop, CollectorRegistry())
    try:
        yield running
    finally:
        stop.set()
        for thread in running.threads:
            thread.join(5)
    assert not [thread.name for thread in running.threads if thread.is_alive()]


def recorded_ids(database: Database) -> list[str]:
    """The ids of all results, newest first."""
    with database.reading() as session:
        return [image.result_id for image in page_of(session, "newest", 1000).images]


def recorded_image(database: Database, number: int) -> Evaluation | None:
    with database.reading() as session:
        return image_of(session, image_id(number))


def is_recorded(database: Database, number: int) -> bool:
    return recorded_image(database, number) is not None


def recorded_runs(database: Database) -> list[RunStatus]:
    with database.reading() as session:
        return runs_of(session, 100)[0]


def break_database(database: Database) -> Callable[[], None]:
    """Makes every write of an image fail; returns the function that repairs the database."""
    with database.writing() as session:
        session.connection().exec_driver_sql("ALTER TABLE images RENAME TO gone")

    def repair() -> None:
        with database.writing() as session:
            session.connection().exec_driver_sql("ALTER TABLE gone RENAME TO images")

    return repair

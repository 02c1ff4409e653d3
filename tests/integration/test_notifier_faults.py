"""Whatever dies, every image is recorded once and every subscriber's event is there once.

The intake runs in a process of its own, with a subscription in the store whose deliveries nobody
sends, so that they can be counted.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.unit.test_notifier_listening import shown
from tests.integration.test_notifier_queues import Queue, make_queue, stored_event

from notifier.store.database import Database, open_database
from notifier.store.tables import Delivery, Subscription
from superres.pipeline.records import Evaluation
from tests.support.evaluation_records import MOMENT, evaluation, image_id, write
from tests.support.http_server import until
from tests.support.paths import ROOT
from tests.support.postgresql import Postgres

PATIENCE = 60.0
PROGRAM = """
import sys
from threading import Event
from prometheus_client import CollectorRegistry
from notifier.listening.start import start_intake
from notifier.store.database import open_database
from superres.pipeline.config import load_settings
settings = load_settings(None)
database = open_database(settings.notifier.database_url)
start_intake(settings, database, Event(), CollectorRegistry())
sys.stdin.read()
"""


@contextmanager
def process(folder: Path, options: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """The intake as a process, ended with SIGKILL at the latest when the block ends."""
    environment = os.environ | {f"SUPERRES_{name}": text for name, text in options.items()}
    with (folder / "log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=ROOT,
        )
    try:
        yield started
        assert started.poll() is None or started.returncode < 0, (folder / "log").read_text()
    finally:
        started.kill()
        started.communicate()


def subscribe(database: Database) -> None:
    with database.writing() as session:
        session.add(
            Subscription(
                id="one",
                url="https://example.org/",
                types='["image.finished"]',
                description="",
                secret="",
                created_at=MOMENT,
            )
        )


def assert_each_once(database: Database, records: list[Evaluation]) -> None:
    expected = sorted(record.image_id for record in records)
    assert sorted(shown(database)) == expected
    with database.reading() as session:
        payloads = list(session.scalars(select(Delivery.payload)))
    assert len(payloads) == len(records)
    assert all(any(name in payload for payload in payloads) for name in expected)


def test_killed_while_a_folder_fills(tmp_path):
    url = f"sqlite:///{tmp_path}/notifier.db"
    results = str(tmp_path / "results")
    options = {"DATASET__RECONSTRUCTED_IMAGES_DIR": results, "NOTIFIER__DATABASE_URL": url}
    database = open_database(url)
    subscribe(database)
    records = [evaluation(number) for number in range(300)]
    with process(tmp_path, options) as first:
        write(results, *records[:200])
        until(lambda: len(shown(database)) >= 20, PATIENCE)
        first.kill()
    assert len(shown(database)) < 200
    write(results, *records[200:250])
    with process(tmp_path, options):
        write(results, *records[250:])
        until(lambda: len(shown(database)) == 300, PATIENCE)
    assert_each_once(database, records)
    database.close()


@pytest.mark.slow
@pytest.mark.localstack
def test_killed_while_events_are_in_flight(tmp_path, aws_environment, bucket):
    results, queue = f"s3://{bucket}/results", make_queue()
    url = f"sqlite:///{tmp_path}/notifier.db"
    options = {
        "DATASET__RECONSTRUCTED_IMAGES_DIR": results,
        "NOTIFIER__DATABASE_URL": url,
        "NOTIFIER__EVENTS_QUEUE_URL": queue.url,
    }
    database = open_database(url)
    subscribe(database)
    records = [evaluation(number) for number in range(60)]
    with process(tmp_path, options) as first:
        # Its scan is over once this, the only one in storage, is there.
        write(results, records[0])
        until(lambda: shown(database) == [image_id(0)], PATIENCE)
        send_shuffled(queue, write(results, *records[1:]))
        until(lambda: len(shown(database)) >= 20, PATIENCE)
        first.kill()
    assert len(shown(database)) < 60
    with process(tmp_path, options):
        until(lambda: len(shown(database)) == 60, PATIENCE)
        until(lambda: queue.left() == 0, PATIENCE)
    assert_each_once(database, records)
    assert queue.dead() == 0
    database.close()
    queue.client.close()


def send_shuffled(queue: Queue, uris: list[str]) -> None:
    events = [stored_event(uri) for uri in uris] * 2
    random.Random(0).shuffle(events)
    queue.send(*events)


@pytest.mark.slow
@pytest.mark.localstack
def test_a_database_gone_for_20_seconds(tmp_path, aws_environment, bucket, postgres: Postgres):
    """By a folder and by a queue, each with an intake of its own on the same database."""
    folder, queue = str(tmp_path / "results"), make_queue()
    shared = {"NOTIFIER__DATABASE_URL": postgres.url, "NOTIFIER__RESCAN_SECONDS": "3600"}
    by_folder = shared | {"DATASET__RECONSTRUCTED_IMAGES_DIR": folder}
    by_queue = shared | {
        "DATASET__RECONSTRUCTED_IMAGES_DIR": f"s3://{bucket}/results",
        "NOTIFIER__EVENTS_QUEUE_URL": queue.url,
    }
    database = open_database(postgres.url)
    subscribe(database)
    records = [evaluation(number) for number in range(200)]

    def finish(numbers: range) -> None:
        send_shuffled(
            queue, write(f"s3://{bucket}/results", *records[numbers.start : numbers.stop : 2])
        )
        write(folder, *records[numbers.start + 1 : numbers.stop : 2])

    with process(tmp_path, by_folder), process(tmp_path, by_queue):
        finish(range(2))
        until(lambda: len(shown(database)) == 2, PATIENCE)
        finish(range(2, 100))
        postgres.stop()
        back = time.monotonic() + 20
        finish(range(100, 150))
        until(lambda: time.monotonic() > back, 30)
        postgres.start()
        came = time.monotonic()
        finish(range(150, 200))
        until(lambda: len(shown(database)) == 200, PATIENCE)
        print(f"all recorded {time.monotonic() - came:.1f} s after the database was back")
        until(lambda: queue.left() == 0, PATIENCE)
    assert_each_once(database, records)
    assert queue.dead() == 0
    database.close()
    queue.client.close()

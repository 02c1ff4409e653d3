"""Whichever process dies, every image is recorded once and has one delivery per subscription.

Listening runs in its own process; no sender runs, so that deliveries can be counted.
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

from notifier.store.database import Database, open_database
from notifier.store.tables import Delivery, Subscription
from superres.pipeline.records import Evaluation
from tests.support.evaluation_records import MOMENT, evaluation, image_id, write
from tests.support.http_server import until
from tests.support.notifier_listening import recorded_ids
from tests.support.paths import ROOT
from tests.support.postgresql import Postgres
from tests.support.queue_messages import stored_event
from tests.support.sqs_queues import Queue, make_queue

PATIENCE = 60.0
PROGRAM = """
import sys
from threading import Event
from prometheus_client import CollectorRegistry
from notifier.listening.start import start_listening
from notifier.store.database import open_database
from superres.pipeline.config_file import load_settings
settings = load_settings(None)
database = open_database(settings.notifier.database_url)
start_listening(settings, database, Event(), CollectorRegistry())
sys.stdin.read()
"""


@contextmanager
def process(folder: Path, options: Mapping[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Listens in a process, which is killed when the block ends at the latest."""
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
    assert sorted(recorded_ids(database)) == expected
    with database.reading() as session:
        payloads = list(session.scalars(select(Delivery.payload)))
    assert len(payloads) == len(records)
    assert all(any(name in payload for payload in payloads) for name in expected)


def test_no_image_is_lost_when_killed_while_a_folder_fills(tmp_path):
    url = f"sqlite:///{tmp_path}/notifier.db"
    results = str(tmp_path / "results")
    options = {"DATASET__RECONSTRUCTED_IMAGES_DIR": results, "NOTIFIER__DATABASE_URL": url}
    database = open_database(url)
    subscribe(database)
    records = [evaluation(number) for number in range(300)]
    with process(tmp_path, options) as first:
        write(results, *records[:200])
        until(lambda: len(recorded_ids(database)) >= 20, PATIENCE)
        first.kill()
    assert len(recorded_ids(database)) < 200
    write(results, *records[200:250])
    with process(tmp_path, options):
        write(results, *records[250:])
        until(lambda: len(recorded_ids(database)) == 300, PATIENCE)
    assert_each_once(database, records)
    database.close()


@pytest.mark.slow
@pytest.mark.localstack
def test_no_image_is_lost_when_killed_with_events_in_flight(tmp_path, aws_environment, bucket):
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
        # The scan is over once this, the only record in storage, is recorded.
        write(results, records[0])
        until(lambda: recorded_ids(database) == [image_id(0)], PATIENCE)
        send_shuffled(queue, write(results, *records[1:]))
        until(lambda: len(recorded_ids(database)) >= 20, PATIENCE)
        first.kill()
    assert len(recorded_ids(database)) < 60
    with process(tmp_path, options):
        until(lambda: len(recorded_ids(database)) == 60, PATIENCE)
        until(lambda: queue.count() == 0, PATIENCE)
    assert_each_once(database, records)
    assert queue.dead_count() == 0
    database.close()
    queue.client.close()


def send_shuffled(queue: Queue, uris: list[str]) -> None:
    events = [stored_event(uri) for uri in uris] * 2
    random.Random(0).shuffle(events)
    queue.send(*events)


@pytest.mark.slow
@pytest.mark.localstack
@pytest.mark.postgresql
def test_no_image_is_lost_in_a_database_outage_of_20_seconds(
    tmp_path, aws_environment, bucket, postgres: Postgres
):
    """With a folder and with a queue, each in its own process, on the same database."""
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
        until(lambda: len(recorded_ids(database)) == 2, PATIENCE)
        finish(range(2, 100))
        postgres.stop()
        end = time.monotonic() + 20
        finish(range(100, 150))
        until(lambda: time.monotonic() > end, 30)
        postgres.start()
        restarted = time.monotonic()
        finish(range(150, 200))
        until(lambda: len(recorded_ids(database)) == 200, PATIENCE)
        print(f"all recorded {time.monotonic() - restarted:.1f} s after the database was back")
        until(lambda: queue.count() == 0, PATIENCE)
    assert_each_once(database, records)
    assert queue.dead_count() == 0
    database.close()
    queue.client.close()

"""Listening to SQS: real queues with a dead-letter queue, on LocalStack."""

import random
import statistics
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from threading import Event

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from notifier.listening.start import Listening, start_listening
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.recipe import Recipe
from superres.pipeline.storage.s3 import forget_clients
from tests.support.evaluation_records import (
    DAY,
    MOMENT,
    evaluation,
    evaluation_uri,
    image_id,
    write,
)
from tests.support.http_server import until
from tests.support.localstack import LocalCloud
from tests.support.notifier_listening import (
    break_database,
    is_recorded,
    listening,
    recorded_ids,
    recorded_image,
    recorded_runs,
    settings_for,
)
from tests.support.queue_messages import status_event, stored_event
from tests.support.sqs_queues import Queue, make_queue

pytestmark = pytest.mark.localstack
PATIENCE = 30.0


@pytest.fixture
def queue(aws_environment: LocalCloud) -> Iterator[Queue]:
    made = make_queue()
    yield made
    made.client.close()


@pytest.fixture
def results(bucket: str) -> Iterator[str]:
    forget_clients()  # it may have been made for another endpoint
    yield f"s3://{bucket}/some data/results"
    forget_clients()


@pytest.fixture(autouse=True)
def _soon(monkeypatch) -> None:
    monkeypatch.setattr("notifier.listening.queues._POISON_SECONDS", 1)


def with_queue(results: str, queue: Queue) -> Settings:
    # There is only one scan, so records are found by the queue.
    return settings_for(results, events_queue_url=queue.url, rescan_seconds=3600)


def wait_for_scan(running: Listening) -> None:
    until(lambda: running.reader.metrics.scanned._value.get() > 0, PATIENCE)


def test_duplicate_and_shuffled_events_record_each_image_once(results, queue, database):
    with listening(with_queue(results, queue), database) as running:
        wait_for_scan(running)
        records = [
            evaluation(n // 2, day=DAY + timedelta(days=n % 3), recipe=Recipe(grayscale=n % 2 == 1))
            for n in range(40)
        ]
        events = [stored_event(uri) for uri in write(results, *records)] * 2
        random.Random(0).shuffle(events)
        queue.send(*events)
        until(lambda: len(recorded_ids(database)) == 40, PATIENCE)
        until(lambda: queue.count() == 0, PATIENCE)
        assert running.reader.metrics.recorded._value.get() == 40
        # Counted after the last messages were deleted.
        until(lambda: running.reader.metrics.events._value.get() >= 80, PATIENCE)
    assert sorted(recorded_ids(database)) == sorted(record.result_id for record in records)
    assert queue.dead_count() == 0


def test_a_record_in_s3_is_read_within_a_second(results, queue, database, aws_environment, bucket):
    notification = {
        "QueueConfigurations": [
            {
                "QueueArn": queue.arn,
                "Events": ["s3:ObjectCreated:*"],
            }
        ]
    }
    aws_environment.s3().put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=notification
    )
    until(lambda: queue.count() == 1, PATIENCE)  # S3's test event
    waits = []
    with capture_logs() as logs, listening(with_queue(results, queue), database) as running:
        wait_for_scan(running)
        for number in range(10):
            record = evaluation(number, minutes=number)
            storage.write_bytes(f"{results}/images/{record.image_id}.png", b"png")
            write(results, record)
            written = time.monotonic()
            until(partial(is_recorded, database, number), PATIENCE)
            waits.append(time.monotonic() - written)
        until(lambda: queue.count() == 0, PATIENCE)
        # The tag of the event equals that of the listing, so a scan reads nothing again.
        assert not any(log["log_level"] == "error" for log in logs)
    print(f"written to recorded: median {statistics.median(waits):.3f} s, max {max(waits):.3f} s")
    assert statistics.median(waits) < 1
    with listening(with_queue(results, queue), database) as running:
        wait_for_scan(running)
        assert running.reader._settled == {}
    assert queue.dead_count() == 0


def test_irrelevant_messages_are_deleted(results, queue, database, bucket):
    [uri, gone] = write(results, evaluation(1), evaluation(2))
    storage.delete(gone)
    other = uri.replace("/results/", "/others/")
    storage.write_bytes(other, evaluation(1).to_json().encode())
    with listening(with_queue(results, queue), database):
        until(lambda: is_recorded(database, 1), PATIENCE)
        queue.send(
            {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket},
            stored_event(uri, "ObjectRemoved:Delete"),
            stored_event(gone),
            stored_event(other),
            stored_event(uri.replace(bucket, "another-bucket")),
            stored_event(uri.replace(".json", ".png")),
        )
        until(lambda: queue.count() == 0, PATIENCE)
    assert recorded_ids(database) == [image_id(1)]
    assert queue.dead_count() == 0


def test_poison_messages_move_to_the_dead_letter_queue(results, queue, database):
    damaged = evaluation_uri(results, evaluation(9))
    with capture_logs() as logs, listening(with_queue(results, queue), database) as running:
        wait_for_scan(running)
        storage.write_bytes(damaged, b"not JSON")
        [good, beside] = write(results, evaluation(1), evaluation(2))
        both = stored_event(damaged)
        both["Records"] += stored_event(beside)["Records"]  # type: ignore[operator]
        queue.send("not JSON", {"no": "event"}, stored_event(damaged), both, stored_event(good))
        until(lambda: len(recorded_ids(database)) == 2, PATIENCE)
        until(lambda: queue.dead_count() == 4, PATIENCE)
        assert queue.count() == 0
    poison = [log for log in logs if log["event"] == "poison_message"]
    assert len(poison) == len({log["message_id"] for log in poison}) == 4
    assert [log["uri"] for log in logs if log["event"] == "record_unreadable"] == [damaged]


def test_executions_are_recorded(results, queue, database):
    failed = status_event("FAILED", error="States.TaskFailed", cause="the step failed")
    other = status_event("SUCCEEDED", name="2026-01-31-x3-1", input='{"scale": 3}')
    settings = settings_for(results, runs_queue_url=queue.url)
    with listening(settings, database) as running:
        assert [thread.name for thread in running.threads] == ["listening-scan", "listening-runs"]
        queue.send(status_event("RUNNING"))
        until(lambda: [run.state for run in recorded_runs(database)] == ["running"], PATIENCE)
        queue.send(failed, other, status_event("RUNNING"), failed, "poison")
        until(lambda: len(recorded_runs(database)) == 2 and queue.count() == 0, PATIENCE)
    found = {run.name: run for run in recorded_runs(database)}
    assert found["2026-01-31-x2-1"].state == "failed"
    assert found["2026-01-31-x2-1"].detail == {
        "error": "States.TaskFailed",
        "cause": "the step failed",
    }
    assert (found["2026-01-31-x3-1"].state, found["2026-01-31-x3-1"].scale) == ("succeeded", 3)
    assert queue.dead_count() == 1


def test_messages_during_a_database_outage_are_not_poison(results, queue, database):
    with capture_logs() as logs, listening(with_queue(results, queue), database) as running:
        wait_for_scan(running)
        repair = break_database(database)
        queue.send(*(stored_event(uri) for uri in write(results, *map(evaluation, range(30)))))
        until(lambda: any("records of queue" in log.get("what", "") for log in logs), PATIENCE)
        repair()
        until(lambda: len(recorded_ids(database)) == 30, PATIENCE)
        until(lambda: queue.count() == 0, PATIENCE)
    assert queue.dead_count() == 0
    assert not any(log["event"] == "poison_message" for log in logs)


def test_a_queue_may_be_created_later(results, queue, database):
    settings = settings_for(results, runs_queue_url=f"{queue.url}-later")
    with capture_logs() as logs, listening(settings, database) as running:
        until(lambda: running.reader.metrics.failures._value.get() >= 2, PATIENCE)
        assert "queue runs" in running.reader.failing
        url = queue.client.create_queue(QueueName=f"{queue.url.rsplit('/', 1)[1]}-later")
        queue.client.send_message(QueueUrl=url["QueueUrl"], MessageBody=status_event("RUNNING"))
        until(lambda: len(recorded_runs(database)) == 1, PATIENCE)
        assert running.reader.failing == {}
    events = [log["event"] for log in logs if log.get("what") == "queue runs"]
    assert events == ["outage_began", "outage_ended"]


def test_listening_stops_within_seconds(results, queue, database):
    stop = Event()
    settings = settings_for(results, events_queue_url=queue.url, runs_queue_url=queue.url)
    running = start_listening(settings, database, stop, CollectorRegistry())
    names = [thread.name for thread in running.threads]
    assert names == ["listening-scan", "listening-events", "listening-runs"]
    wait_for_scan(running)
    stop.set()
    stopped = time.monotonic()
    for thread in running.threads:
        thread.join(10)
    assert time.monotonic() - stopped < 10


def test_a_rescan_finds_records_without_events(results, queue, database):
    settings = settings_for(results, events_queue_url=queue.url, rescan_seconds=1)
    with listening(settings, database) as running:
        wait_for_scan(running)
        write(results, *map(evaluation, range(25)))
        until(lambda: len(recorded_ids(database)) == 25, PATIENCE)
        # Evaluated again: the newer evaluation replaces the other.
        write(results, evaluation(3, minutes=7))
        until(
            lambda: recorded_image(database, 3).finished_at == MOMENT + timedelta(minutes=7),
            PATIENCE,
        )
    assert running.reader.failing == {}

"""The notifier hears from SQS: real queues with a dead-letter queue, on LocalStack."""

import json
import random
import statistics
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import quote_plus

import boto3
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from tests.unit.test_notifier_listening import (
    image,
    in_the_way_of,
    intake,
    is_shown,
    runs,
    settings_for,
    shown,
)
from tests.unit.test_queue_messages import status_event

from notifier.listening.start import start_intake
from superres.pipeline import storage
from superres.pipeline.config import Settings
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

pytestmark = pytest.mark.localstack
VISIBLE_AGAIN_SECONDS = 4
MOST_RECEIVES = 3
PATIENCE = 30.0


@dataclass(frozen=True)
class Queue:
    """A queue whose messages go to another one when they have been received too often."""

    client: Any
    url: str
    dead_url: str
    arn: str

    def send(self, *bodies: object) -> None:
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        for start in range(0, len(texts), 10):
            entries = [
                {"Id": str(number), "MessageBody": body}
                for number, body in enumerate(texts[start : start + 10])
            ]
            answer = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
            assert not answer.get("Failed")

    def left(self, url: str | None = None) -> int:
        """Messages that are in it, received ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def dead(self) -> int:
        return self.left(self.dead_url)


def make_queue() -> Queue:
    client = boto3.client("sqs")
    name = f"test-{uuid.uuid4().hex[:12]}"

    def made(name: str, attributes: dict[str, str]) -> tuple[str, str]:
        url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    dead_url, dead_arn = made(f"{name}-dead", {})
    redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": MOST_RECEIVES}
    url, arn = made(
        name,
        {"VisibilityTimeout": str(VISIBLE_AGAIN_SECONDS), "RedrivePolicy": json.dumps(redrive)},
    )
    return Queue(client, url, dead_url, arn)


@pytest.fixture
def queue(aws_environment: LocalCloud) -> Iterator[Queue]:
    made = make_queue()
    yield made
    made.client.close()


@pytest.fixture
def results(bucket: str) -> Iterator[str]:
    storage._s3_client.cache_clear()  # it may have been made for another endpoint
    yield f"s3://{bucket}/some data/results"
    storage._s3_client.cache_clear()


@pytest.fixture(autouse=True)
def _soon(monkeypatch) -> None:
    monkeypatch.setattr("notifier.listening.queues._POISON_SECONDS", 1)


def stored_event(uri: str, name: str = "ObjectCreated:Put") -> dict[str, object]:
    """What S3 sends to a queue, without what does not matter."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    stored = {"bucket": {"name": bucket}, "object": {"key": quote_plus(key, safe="/"), "eTag": "a"}}
    return {"Records": [{"eventSource": "aws:s3", "eventName": name, "s3": stored}]}


def with_queue(results: str, queue: Queue) -> Settings:
    # The scan comes once only: it is the queue that tells.
    return settings_for(results, events_queue_url=queue.url, rescan_seconds=3600)


def scanned(taken: Any) -> None:
    until(lambda: taken.reader.metrics.scanned._value.get() > 0, PATIENCE)


def test_events_doubled_and_shuffled(results, queue, database):
    with intake(with_queue(results, queue), database) as taken:
        scanned(taken)
        records = [evaluation(n, day=DAY + timedelta(days=n % 3)) for n in range(40)]
        events = [stored_event(uri) for uri in write(results, *records)] * 2
        random.Random(0).shuffle(events)
        queue.send(*events)
        until(lambda: len(shown(database)) == 40, PATIENCE)
        until(lambda: queue.left() == 0, PATIENCE)
        assert taken.reader.metrics.recorded._value.get() == 40
        assert taken.reader.metrics.events._value.get() >= 80
    assert sorted(shown(database)) == sorted(record.image_id for record in records)
    assert queue.dead() == 0


def test_an_object_written_is_shown_soon(results, queue, database, aws_environment, bucket):
    told = {
        "QueueConfigurations": [
            {
                "QueueArn": queue.arn,
                "Events": ["s3:ObjectCreated:*"],
            }
        ]
    }
    aws_environment.s3().put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration=told
    )
    until(lambda: queue.left() == 1, PATIENCE)  # S3's test event
    waits = []
    with capture_logs() as logs, intake(with_queue(results, queue), database) as taken:
        scanned(taken)
        for number in range(10):
            record = evaluation(number, minutes=number)
            storage.write_bytes(f"{results}/images/{record.image_id}.png", b"png")
            write(results, record)
            written = time.monotonic()
            until(partial(is_shown, database, number), PATIENCE)
            waits.append(time.monotonic() - written)
        until(lambda: queue.left() == 0, PATIENCE)
        # The tag is that of the listing, so that the scan reads nothing again.
        assert not any(log["log_level"] == "error" for log in logs)
    print(f"written to recorded: median {statistics.median(waits):.3f} s, max {max(waits):.3f} s")
    assert statistics.median(waits) < 1
    with intake(with_queue(results, queue), database) as taken:
        scanned(taken)
        assert taken.reader._settled == {}
    assert queue.dead() == 0


def test_what_does_not_concern_us_is_deleted(results, queue, database, bucket):
    [uri, gone] = write(results, evaluation(1), evaluation(2))
    storage.delete(gone)
    other = uri.replace("/results/", "/others/")
    storage.write_bytes(other, evaluation(1).to_json().encode())
    with intake(with_queue(results, queue), database):
        until(lambda: image(database, 1) is not None, PATIENCE)
        queue.send(
            {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": bucket},
            stored_event(uri, "ObjectRemoved:Delete"),
            stored_event(gone),
            stored_event(other),
            stored_event(uri.replace(bucket, "another-bucket")),
            stored_event(uri.replace(".json", ".png")),
        )
        until(lambda: queue.left() == 0, PATIENCE)
    assert shown(database) == [image_id(1)]
    assert queue.dead() == 0


def test_poison_goes_to_the_dead_letter_queue(results, queue, database):
    damaged = evaluation_uri(results, evaluation(9))
    with capture_logs() as logs, intake(with_queue(results, queue), database) as taken:
        scanned(taken)
        storage.write_bytes(damaged, b"not JSON")
        [good, beside] = write(results, evaluation(1), evaluation(2))
        both = stored_event(damaged)
        both["Records"] += stored_event(beside)["Records"]  # type: ignore[operator]
        queue.send("not JSON", {"no": "event"}, stored_event(damaged), both, stored_event(good))
        until(lambda: len(shown(database)) == 2, PATIENCE)
        until(lambda: queue.dead() == 4, PATIENCE)
        assert queue.left() == 0
    told = [log for log in logs if log["event"] == "poison"]
    assert len(told) == len({log["message_id"] for log in told}) == 4
    assert [log["uri"] for log in logs if log["event"] == "record_unreadable"] == [damaged]


def test_executions(results, queue, database):
    failed = status_event("FAILED", error="States.TaskFailed", cause="the step failed")
    other = status_event("SUCCEEDED", name="2026-01-31-x3-1", input='{"scale": 3}')
    settings = settings_for(results, runs_queue_url=queue.url)
    with intake(settings, database) as taken:
        assert [thread.name for thread in taken.threads] == ["intake-scan", "intake-runs"]
        queue.send(status_event("RUNNING"))
        until(lambda: [run.state for run in runs(database)] == ["running"], PATIENCE)
        queue.send(failed, other, status_event("RUNNING"), failed, "poison")
        until(lambda: len(runs(database)) == 2 and queue.left() == 0, PATIENCE)
    found = {run.name: run for run in runs(database)}
    assert found["2026-01-31-x2-1"].state == "failed"
    assert found["2026-01-31-x2-1"].detail == {
        "error": "States.TaskFailed",
        "cause": "the step failed",
    }
    assert (found["2026-01-31-x3-1"].state, found["2026-01-31-x3-1"].scale) == ("succeeded", 3)
    assert queue.dead() == 1


def test_what_cannot_be_recorded_is_no_poison(results, queue, database):
    with capture_logs() as logs, intake(with_queue(results, queue), database) as taken:
        scanned(taken)
        end = in_the_way_of(database)
        queue.send(*(stored_event(uri) for uri in write(results, *map(evaluation, range(30)))))
        until(lambda: any("records of queue" in log.get("what", "") for log in logs), PATIENCE)
        end()
        until(lambda: len(shown(database)) == 30, PATIENCE)
        until(lambda: queue.left() == 0, PATIENCE)
    assert queue.dead() == 0
    assert not any(log["event"] == "poison" for log in logs)


def test_a_queue_that_is_not_there_yet(results, queue, database):
    settings = settings_for(results, runs_queue_url=f"{queue.url}-later")
    with capture_logs() as logs, intake(settings, database) as taken:
        until(lambda: taken.reader.metrics.failures._value.get() >= 2, PATIENCE)
        assert "queue runs" in taken.failing()
        url = queue.client.create_queue(QueueName=f"{queue.url.rsplit('/', 1)[1]}-later")
        queue.client.send_message(QueueUrl=url["QueueUrl"], MessageBody=status_event("RUNNING"))
        until(lambda: len(runs(database)) == 1, PATIENCE)
        assert taken.failing() == ""
    told = [log["event"] for log in logs if log.get("what") == "queue runs"]
    assert told == ["intake_failing", "intake_works_again"]


def test_it_stops_within_seconds(results, queue, database):
    stop = Event()
    settings = settings_for(results, events_queue_url=queue.url, runs_queue_url=queue.url)
    taken = start_intake(settings, database, stop, CollectorRegistry())
    names = [thread.name for thread in taken.threads]
    assert names == ["intake-scan", "intake-events", "intake-runs"]
    scanned(taken)
    stop.set()
    told = time.monotonic()
    for thread in taken.threads:
        thread.join(10)
    assert time.monotonic() - told < 10


def test_a_rescan_finds_what_no_event_told(results, queue, database):
    settings = settings_for(results, events_queue_url=queue.url, rescan_seconds=1)
    with intake(settings, database) as taken:
        scanned(taken)
        write(results, *map(evaluation, range(25)))
        until(lambda: len(shown(database)) == 25, PATIENCE)
        # Done again: the newer evaluation takes the place of the other.
        write(results, evaluation(3, minutes=7))
        until(lambda: image(database, 3).finished_at == MOMENT + timedelta(minutes=7), PATIENCE)
    assert taken.failing() == ""

"""Parsing the messages of both queues: events of S3, and statuses of executions."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from notifier.listening.queues import region_of, status_in
from notifier.store.runs import RunStatus
from superres.errors import RecordError
from superres.pipeline.stored_events import stored_in
from tests.support.evaluation_records import DAY
from tests.support.queue_messages import status_event, stored_record


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "results"}, []),
        (
            {"Records": [stored_record("evaluations/scale%3D2/a+b%2Bc.json")]},
            [("s3://results/evaluations/scale=2/a b+c.json", "abc")],
        ),
        ({"Records": [stored_record("a.json", "ObjectRemoved:Delete")]}, []),
        (
            {"Records": [stored_record("a"), stored_record("b", "ObjectCreated:Copy")]},
            [("s3://results/a", "abc"), ("s3://results/b", "abc")],
        ),
        (
            {
                "source": "aws.s3",
                "detail-type": "Object Created",
                "detail": {
                    "bucket": {"name": "results"},
                    "object": {"key": "evaluations/scale=2/a+b.json", "etag": "abc"},
                },
            },
            [("s3://results/evaluations/scale=2/a+b.json", "abc")],
        ),
        (
            {
                "source": "aws.s3",
                "detail-type": "Object Deleted",
                "detail": {"bucket": {"name": "results"}, "object": {"key": "a"}},
            },
            [],
        ),
    ],
)
def test_events_of_s3_name_the_written_objects(message, expected):
    assert stored_in(json.dumps(message)) == expected


@pytest.mark.parametrize(
    "body",
    [
        *("", "hello", "[]", "{}", "null", '"Records"', '{"Records": [{}]}', '{"Records": 7}'),
        '{"Event": "s3:OtherEvent"}',
        '{"source": "aws.ec2", "detail-type": "x", "detail": {}}',
    ],
)
def test_other_messages_are_rejected(body):
    with pytest.raises(RecordError, match="not an event of S3"):
        stored_in(body)
    with pytest.raises(RecordError, match="not the status of an execution"):
        status_in(body)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("RUNNING", "running"),
        ("SUCCEEDED", "succeeded"),
        ("FAILED", "failed"),
        ("TIMED_OUT", "failed"),
        ("ABORTED", "stopped"),
    ],
)
def test_the_status_of_an_execution_is_parsed(status, state):
    begun = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ended = begun + timedelta(milliseconds=60_123)
    found = status_in(status_event(status))
    changed = begun if status == "RUNNING" else ended
    assert found == RunStatus("2026-01-31-x2-1", "execution", state, 2, DAY, begun, changed, {})


def test_the_error_of_an_execution_is_kept_and_a_long_cause_is_cut():
    found = status_in(status_event("FAILED", error="States.TaskFailed", cause="x" * 5000))
    assert found.detail == {"error": "States.TaskFailed", "cause": "x" * 2000}


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[1]", "no JSON", '{"scale": 9}', '{"ingest_date": "x"}']
)
def test_an_unknown_input_leaves_scale_and_date_unset(text):
    found = status_in(status_event("RUNNING", input=text))
    assert (found.scale, found.ingest_date, found.state) == (None, None, "running")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"run_id": "2026-02-01-x3-again"}, (3, date(2026, 2, 1))),
        ({"run_ids": ["2026-02-01-x4"]}, (4, date(2026, 2, 1))),
        ({"run_ids": ["2026-02-01-x4", "2026-02-01-x2"]}, (None, None)),
        ({"run_ids": ["2026-02-30-x4"]}, (None, None)),
        ({"run_id": "mine", "scale": 3}, (3, None)),
    ],
)
def test_a_single_named_run_says_scale_and_date(content, expected):
    found = status_in(status_event("RUNNING", input=json.dumps(content)))
    assert (found.scale, found.ingest_date) == expected


@pytest.mark.parametrize(
    "wrong", [{"status": "ODD"}, {"name": ""}, {"startDate": -1}, {"stopDate": 10**18}]
)
def test_an_invalid_status_is_rejected(wrong):
    with pytest.raises(RecordError):
        status_in(status_event("FAILED", **wrong))


def test_a_status_without_times_has_the_time_of_the_event():
    found = status_in(status_event("ABORTED", startDate=None, stopDate=None))
    assert found.started_at is None
    assert found.changed_at == datetime(2026, 1, 31, 12, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/evaluations", "eu-central-1"),
        ("http://sqs.us-east-1.localhost.localstack.cloud:4566/000000000000/q", "us-east-1"),
        ("http://127.0.0.1:4566/000000000000/q", "ap-south-1"),
    ],
)
def test_a_queue_is_read_in_its_region(url, region, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    assert region_of(url) == region

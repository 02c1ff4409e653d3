"""What the messages of both queues say: events of S3, and how an execution stands."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from notifier.listening.queues import status_in, stored_in
from notifier.store.runs import RunStatus
from superres.errors import RecordError
from tests.support.evaluation_records import DAY


def stored_event(key: str, name: str = "ObjectCreated:Put", **other: object) -> dict[str, object]:
    stored = {"key": key, "size": 10, "eTag": "abc", "sequencer": "0055AED6DCD90281E5"}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": "results"}, "object": stored},
    } | other


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "results"}, []),
        (
            {"Records": [stored_event("evaluations/scale%3D2/a+b%2Bc.json")]},
            [("s3://results/evaluations/scale=2/a b+c.json", "abc")],
        ),
        ({"Records": [stored_event("a.json", "ObjectRemoved:Delete")]}, []),
        (
            {"Records": [stored_event("a"), stored_event("b", "ObjectCreated:Copy")]},
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
def test_events_of_s3(message, expected):
    assert stored_in(json.dumps(message)) == expected


@pytest.mark.parametrize(
    "body",
    [
        *("", "hello", "[]", "{}", "null", '"Records"', '{"Records": [{}]}', '{"Records": 7}'),
        '{"Event": "s3:OtherEvent"}',
        '{"source": "aws.ec2", "detail-type": "x", "detail": {}}',
    ],
)
def test_messages_that_are_no_events(body):
    with pytest.raises(RecordError, match="no event of S3"):
        stored_in(body)
    with pytest.raises(RecordError, match="no status of an execution"):
        status_in(body)


def status_event(told_status: str, **detail: object) -> str:
    told = {
        "executionArn": "arn:aws:states:eu-central-1:123456789012:execution:pipeline:name-1",
        "stateMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:pipeline",
        "name": "2026-01-31-x2-1",
        "status": told_status,
        "startDate": 1769860800000,
        "stopDate": None if told_status == "RUNNING" else 1769860860123,
        "input": '{"scale": 2, "ingest_date": "2026-01-31", "other": {}}',
        "output": None,
        "error": None,
        "cause": None,
    }
    return json.dumps(
        {
            "version": "0",
            "id": "315c1398-40ff-a850-213b-158f73e60175",
            "detail-type": "Step Functions Execution Status Change",
            "source": "aws.states",
            "time": "2026-01-31T12:05:00Z",
            "detail": told | detail,
        }
    )


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
def test_a_status_of_an_execution(status, state):
    begun = datetime(2026, 1, 31, 12, tzinfo=UTC)
    ended = begun + timedelta(milliseconds=60_123)
    found = status_in(status_event(status))
    changed = begun if status == "RUNNING" else ended
    assert found == RunStatus("2026-01-31-x2-1", "execution", state, 2, DAY, begun, changed, {})


def test_why_an_execution_failed():
    found = status_in(status_event("FAILED", error="States.TaskFailed", cause="x" * 5000))
    assert found.detail == {"error": "States.TaskFailed", "cause": "x" * 2000}


@pytest.mark.parametrize(
    "given", [None, "", "{}", "[1]", "no JSON", '{"scale": 9}', '{"ingest_date": "x"}']
)
def test_an_input_that_says_nothing_to_us(given):
    found = status_in(status_event("RUNNING", input=given))
    assert (found.scale, found.ingest_date, found.state) == (None, None, "running")


@pytest.mark.parametrize(
    "wrong", [{"status": "ODD"}, {"name": ""}, {"startDate": -1}, {"stopDate": 10**18}]
)
def test_a_status_that_cannot_be(wrong):
    with pytest.raises(RecordError):
        status_in(status_event("FAILED", **wrong))


def test_a_status_without_its_moments_has_that_of_the_event():
    found = status_in(status_event("ABORTED", startDate=None, stopDate=None))
    assert found.started_at is None
    assert found.changed_at == datetime(2026, 1, 31, 12, 5, tzinfo=UTC)

"""Messages as AWS sends them to the notifier's queues."""

import json
from urllib.parse import quote_plus


def stored_record(key: str, name: str = "ObjectCreated:Put") -> dict[str, object]:
    """One record of an S3 event, with the key as S3 encodes it."""
    stored = {"key": key, "size": 10, "eTag": "abc", "sequencer": "0055AED6DCD90281E5"}
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": "results"}, "object": stored},
    }


def stored_event(uri: str, name: str = "ObjectCreated:Put") -> dict[str, object]:
    """An S3 event for one object, reduced to the fields that matter."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    stored = {"bucket": {"name": bucket}, "object": {"key": quote_plus(key, safe="/"), "eTag": "a"}}
    return {"Records": [{"eventSource": "aws:s3", "eventName": name, "s3": stored}]}


def status_event(status: str, /, **detail: object) -> str:
    """An event of Step Functions: an execution has changed its status."""
    execution = {
        "executionArn": "arn:aws:states:eu-central-1:123456789012:execution:pipeline:name-1",
        "stateMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:pipeline",
        "name": "2026-01-31-x2-1",
        "status": status,
        "startDate": 1769860800000,
        "stopDate": None if status == "RUNNING" else 1769860860123,
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
            "detail": execution | detail,
        }
    )


def forwarded_event(key: str, bucket: str = "raw") -> str:
    """An event of S3 as EventBridge sends it to a queue."""
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "account": "123456789012",
            "time": "2026-01-31T12:00:00Z",
            "region": "eu-central-1",
            "resources": [f"arn:aws:s3:::{bucket}"],
            "detail": {
                "version": "0",
                "bucket": {"name": bucket},
                "object": {"key": key, "size": 10, "etag": "abc", "sequencer": "617f08299329d189"},
                "reason": "PutObject",
            },
        }
    )

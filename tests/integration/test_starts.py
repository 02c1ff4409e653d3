"""Several instances that start runs for new images, with a real queue and state machine."""

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from threading import Event
from typing import Any

import boto3
import pytest
from structlog.testing import capture_logs

from ingestion.starts.service import start_runs
from superres.pipeline.config import Starts
from tests.support.http_server import until
from tests.support.localstack import LocalCloud
from tests.support.queue_messages import forwarded_event
from tests.support.sqs_queues import Queue, make_queue

pytestmark = pytest.mark.localstack
PATIENCE = 60.0
APART = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.starts.starter._RECEIVE_SECONDS", 1)
    monkeypatch.setattr("ingestion.starts.starter._QUIET_SECONDS", 0)
    monkeypatch.setattr("ingestion.starts.starter._LOOK_SECONDS", 0.2)
    monkeypatch.setattr("ingestion.starts.starter._APART", APART)
    monkeypatch.setattr("ingestion.starts.queue._POISON_SECONDS", 1)


@pytest.fixture
def queue(aws_environment: LocalCloud) -> Iterator[Queue]:
    made = make_queue()
    yield made
    made.client.close()


@pytest.fixture
def machine(aws_environment: LocalCloud) -> str:
    """A state machine whose executions take two seconds."""
    return make_machine(waiting(2))


def waiting(seconds: int) -> dict[str, Any]:
    return {"Type": "Wait", "Seconds": seconds, "End": True}


def definition_of(work: dict[str, Any]) -> str:
    return json.dumps({"StartAt": "Work", "States": {"Work": work}})


def make_machine(work: dict[str, Any]) -> str:
    made: Any = boto3.client("stepfunctions").create_state_machine(
        name=f"test-{uuid.uuid4().hex[:12]}",
        definition=definition_of(work),
        roleArn="arn:aws:iam::000000000000:role/test",
    )
    return str(made["stateMachineArn"])


@contextmanager
def instances(number: int, queue: Queue, machine: str) -> Iterator[None]:
    """Instances that start runs; all of them stop at the end."""
    stop = Event()
    starts = Starts(queue_url=queue.url, state_machine_arn=machine, port=0)
    with ThreadPoolExecutor(number) as pool:
        running = [pool.submit(start_runs, starts, stop, 20.0) for _ in range(number)]
        try:
            yield
        finally:
            stop.set()
        for each in running:
            each.result()


def executions_of(machine: str) -> list[dict[str, Any]]:
    """Returns what was started, the first first, once nothing runs."""
    client: Any = boto3.client("stepfunctions")

    def listed(**wanted: Any) -> list[dict[str, Any]]:
        return list(client.list_executions(stateMachineArn=machine, **wanted)["executions"])

    until(lambda: not listed(statusFilter="RUNNING"), PATIENCE)
    found = [client.describe_execution(executionArn=each["executionArn"]) for each in listed()]
    return sorted(found, key=lambda each: each["startDate"])


def event_of(number: int, day: str, scale: int = 2) -> str:
    return forwarded_event(f"low_resolution/scale={scale}/ingest_date={day}/{number:032x}.png")


@pytest.mark.slow
def test_three_instances_start_one_execution_at_a_time_and_miss_no_image(
    queue: Queue, machine: str
) -> None:
    sent: list[tuple[str, datetime]] = []
    with instances(3, queue, machine):
        for number in range(24):
            day = f"2026-01-{30 + number // 16}"
            queue.send(event_of(number, day))
            sent.append((f"{day}-x2", datetime.now(UTC)))
            time.sleep(0.25)  # images that arrive while executions run
        until(lambda: queue.count() == 0, PATIENCE)
        found = executions_of(machine)
    assert queue.dead_count() == 0
    assert [each["name"] for each in found] == [
        f"new-images-{number}" for number in range(1, len(found) + 1)
    ]
    assert len(found) > 1
    for earlier, later in pairwise(found):
        assert earlier["stopDate"] <= later["startDate"]
        assert later["startDate"] - earlier["startDate"] >= APART
    for run_id, moment in sent:
        # The queue's clock and ours are one.
        assert any(
            run_id in json.loads(each["input"])["run_ids"]
            and each["startDate"] >= moment - timedelta(seconds=1)
            for each in found
        ), run_id


def test_messages_of_an_instance_that_stops_start_an_execution_elsewhere(queue: Queue) -> None:
    client: Any = boto3.client("stepfunctions")
    machine = make_machine(waiting(600))
    by_hand = client.start_execution(stateMachineArn=machine, input="{}")["executionArn"]
    queue.send(event_of(1, "2026-01-31"))
    with instances(1, queue, machine):
        until(lambda: hidden(queue) == 1, PATIENCE)
    assert hidden(queue) == 0
    assert queue.count() == 1
    with instances(1, queue, machine):
        until(lambda: hidden(queue) == 1, PATIENCE)
        client.stop_execution(executionArn=by_hand)
        until(lambda: new_images(machine) == ["new-images-1"], PATIENCE)
        ours = by_hand.rpartition(":")[0] + ":new-images-1"
        client.stop_execution(executionArn=ours)
    stopped, started = executions_of(machine)
    assert (stopped["executionArn"], started["executionArn"]) == (by_hand, ours)
    assert json.loads(started["input"]) == {"run_ids": ["2026-01-31-x2"]}
    assert started["startDate"] >= stopped["stopDate"]


def test_failed_executions_cost_no_image_and_are_started_ever_more_rarely(queue: Queue) -> None:
    failing = make_machine({"Type": "Fail", "Error": "Test.Broken"})
    queue.send(event_of(1, "2026-01-31"))
    with instances(2, queue, failing):
        until(lambda: len(new_images(failing)) == 3, PATIENCE)
        mend(failing)
        until(lambda: queue.count() == 0, PATIENCE)
    assert queue.dead_count() == 0
    found = executions_of(failing)
    assert [each["name"] for each in found] == [f"new-images-{at + 1}" for at in range(len(found))]
    assert {json.loads(each["input"])["run_ids"][0] for each in found} == {"2026-01-31-x2"}
    assert [each["status"] for each in found[:3]] == ["FAILED"] * 3
    assert found[-1]["status"] == "SUCCEEDED"
    pauses = [later["startDate"] - each["stopDate"] for each, later in pairwise(found[:4])]
    for pause, expected in zip(pauses, [APART, 2 * APART, 4 * APART], strict=True):
        assert pause >= expected


def new_images(machine: str) -> list[str]:
    """Returns the names of what new images started, the first first."""
    client: Any = boto3.client("stepfunctions")
    listed = client.list_executions(stateMachineArn=machine)["executions"]
    return sorted(each["name"] for each in listed if each["name"].startswith("new-images-"))


def mend(machine: str) -> None:
    client: Any = boto3.client("stepfunctions")
    client.update_state_machine(
        stateMachineArn=machine, definition=definition_of({"Type": "Succeed"})
    )


def hidden(queue: Queue) -> int:
    name = "ApproximateNumberOfMessagesNotVisible"
    found = queue.client.get_queue_attributes(QueueUrl=queue.url, AttributeNames=[name])
    return int(found["Attributes"][name])


def test_bad_messages_become_dead_letters_and_start_nothing(queue: Queue, machine: str) -> None:
    queue.send("hello", forwarded_event("low_resolution/readme.txt"))
    with capture_logs() as logs, instances(1, queue, machine):
        until(lambda: queue.dead_count() == 2, PATIENCE)
    assert queue.count() == 0
    assert not executions_of(machine)
    reported = [each["reason"] for each in logs if each["event"] == "poison_message"]
    assert len(reported) == 2
    assert any("low_resolution/readme.txt" in each for each in reported)

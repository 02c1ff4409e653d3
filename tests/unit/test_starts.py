"""Starting runs for new images: what messages say, and when an execution starts."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ingestion.starts.executions import Executions, Situation, Started
from ingestion.starts.prometheus_metrics import new_metrics
from ingestion.starts.queue import ImageQueue, NewImages, run_ids_in
from ingestion.starts.service import start_runs
from ingestion.starts.starter import Starter
from superres.errors import ConfigError, RecordError, TransferError
from superres.pipeline.config import Starts
from tests.support.fake_aws import stubbed
from tests.support.queue_messages import forwarded_event

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:pipeline"
EXECUTION = MACHINE.replace("stateMachine", "execution")
FOLDER = "low_resolution/scale=2/ingest_date=2026-01-31"
IMAGE = f"{FOLDER}/{'0' * 32}.png"


# ---- messages


@pytest.mark.parametrize(
    ("key", "runs"),
    [
        (IMAGE, {"2026-01-31-x2"}),
        (IMAGE.replace("=", "%3D"), {"2026-01-31-x2"}),
        (f"low_resolution/scale=4/ingest_date=2026-02-01/{'f' * 32}.jpg", {"2026-02-01-x4"}),
        (f"{FOLDER}/{'0' * 32}.json", set()),  # the reference beside an image
    ],
)
def test_a_message_names_the_run_of_its_image(key, runs):
    assert run_ids_in(forwarded_event(key)) == runs


@pytest.mark.parametrize(
    "key",
    [
        f"{FOLDER}/notes.txt",
        f"{FOLDER}/deeper/{'0' * 32}.png",
        f"low_resolution/scale=5/ingest_date=2026-01-31/{'0' * 32}.png",
        f"low_resolution/scale=2/ingest_date=2026-02-30/{'0' * 32}.png",
    ],
)
def test_an_object_that_is_no_image_cannot_be_understood(key):
    with pytest.raises(RecordError, match=key.rsplit("/", 1)[1]):
        run_ids_in(forwarded_event(key))


def test_other_messages_cannot_be_understood():
    with pytest.raises(RecordError, match="not an event of S3"):
        run_ids_in('{"hello": 1}')


# ---- the queue


def received(*bodies: str, times: int = 1) -> dict[str, Any]:
    return {
        "Messages": [
            {
                "MessageId": f"m-{number}",
                "ReceiptHandle": f"r-{number}",
                "Body": body,
                "Attributes": {
                    "SentTimestamp": "1769860800000",
                    "ApproximateReceiveCount": str(times),
                },
            }
            for number, body in enumerate(bodies)
        ]
    }


@pytest.mark.parametrize(("times", "reported"), [(1, 1), (2, 0)])
def test_a_bad_message_is_reported_once_and_goes_back_soon(times, reported):
    client, stub = stubbed("sqs")
    bad: list[int] = []
    queue = ImageQueue(client, "https://queue.invalid/q", lambda: bad.append(1))
    messages = received("{", forwarded_event(IMAGE), times=times)
    stub.add_response("receive_message", messages)
    stub.add_response(
        "change_message_visibility_batch",
        {"Successful": [], "Failed": []},
        {
            "QueueUrl": "https://queue.invalid/q",
            "Entries": [{"Id": "0", "ReceiptHandle": "r-0", "VisibilityTimeout": 5}],
        },
    )
    assert queue.receive(0) == ([NewImages("r-1", frozenset({"2026-01-31-x2"}), NOON)], True)
    assert len(bad) == reported
    stub.assert_no_pending_responses()


def test_a_message_about_something_else_is_deleted():
    client, stub = stubbed("sqs")
    stub.add_response("receive_message", received(forwarded_event(f"{FOLDER}/{'0' * 32}.json")))
    stub.add_response("delete_message_batch", {"Successful": [], "Failed": []})
    assert ImageQueue(client, "https://queue.invalid/q").receive(0) == ([], True)
    stub.assert_no_pending_responses()


def test_messages_that_are_no_longer_ours_are_left_out():
    client, stub = stubbed("sqs")
    messages = [replace(message("2026-01-31-x2"), receipt=f"r-{at}") for at in range(12)]
    lost = {"Id": "1", "SenderFault": True, "Code": "ReceiptHandleIsInvalid"}
    for failed in ([lost], [lost]):
        stub.add_response("change_message_visibility_batch", {"Successful": [], "Failed": failed})
    kept = ImageQueue(client, "https://queue.invalid/q").keep(messages)
    assert [each.receipt for each in messages if each not in kept] == ["r-1", "r-11"]


def test_errors_of_sqs_may_pass():
    client, stub = stubbed("sqs")
    stub.add_client_error("receive_message", "ServiceUnavailable", "try later")
    with pytest.raises(TransferError, match=r"queue of new images: .*try later"):
        ImageQueue(client, "https://queue.invalid/q").receive(0)


# ---- executions


def listing(*names: str) -> dict[str, Any]:
    return {
        "executions": [
            {
                "executionArn": f"{EXECUTION}:{name}",
                "stateMachineArn": MACHINE,
                "name": name,
                "status": "SUCCEEDED",
                "startDate": NOON,
            }
            for name in names
        ]
    }


def description(status: str, content: object) -> dict[str, Any]:
    return {
        "executionArn": f"{EXECUTION}:new-images-7",
        "stateMachineArn": MACHINE,
        "status": status,
        "startDate": NOON,
        "input": json.dumps(content),
    }


def test_the_latest_execution_of_new_images_is_found_among_all():
    client, stub = stubbed("stepfunctions")
    stub.add_response("list_executions", listing())
    stub.add_response("list_executions", listing("by-clock", "new-images-7", "new-images-6"))
    stub.add_response(
        "describe_execution",
        description("SUCCEEDED", {"run_ids": ["2026-01-31-x2"]}),
        {"executionArn": f"{EXECUTION}:new-images-7"},
    )
    situation = Executions(client, MACHINE).look()
    assert situation == Situation(False, Started(7, NOON, frozenset({"2026-01-31-x2"})))
    assert situation.next_number == 8


def test_an_execution_that_no_list_has_yet_counts():
    client, stub = stubbed("stepfunctions")
    executions = Executions(client, MACHINE)
    stub.add_response(
        "start_execution",
        {"executionArn": f"{EXECUTION}:new-images-7", "startDate": NOON},
        {
            "stateMachineArn": MACHINE,
            "name": "new-images-7",
            "input": '{"run_ids": ["2026-01-30-x2", "2026-01-31-x2"]}',
        },
    )
    runs = frozenset({"2026-01-31-x2", "2026-01-30-x2"})
    assert executions.start(7, runs) == Started(7, NOON, runs)
    stub.add_response("list_executions", listing())
    stub.add_response("list_executions", listing("new-images-6"))
    stub.add_response("describe_execution", description("RUNNING", {"run_ids": sorted(runs)}))
    assert executions.look() == Situation(True, Started(7, NOON, runs))


def test_a_number_that_another_instance_has_used_starts_nothing():
    client, stub = stubbed("stepfunctions")
    stub.add_client_error("start_execution", "ExecutionAlreadyExists")
    assert Executions(client, MACHINE).start(1, frozenset()) is None


def test_inputs_that_people_gave_name_no_runs():
    client, stub = stubbed("stepfunctions")
    for content in ({}, ["2026-01-31-x2"], {"run_ids": "2026-01-31-x2"}):
        stub.add_response("list_executions", listing())
        stub.add_response("list_executions", listing("new-images-7"))
        stub.add_response("describe_execution", description("SUCCEEDED", content))
        latest = Executions(client, MACHINE).look().latest
        assert latest is not None
        assert latest.run_ids == frozenset()


# ---- the starter


def message(*runs: str, sent_at: datetime = NOON, receipt: str = "r") -> NewImages:
    return NewImages(receipt, frozenset(runs), sent_at)


@dataclass
class FakeQueue:
    """A queue; each receive answers with the next of the batches."""

    batches: list[list[NewImages]]
    deleted: list[NewImages] = field(default_factory=list)
    kept: list[list[NewImages]] = field(default_factory=list)
    returned: list[NewImages] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)

    def receive(self, wait_seconds: int) -> tuple[list[NewImages], bool]:
        batch = self.batches.pop(0) if self.batches else []
        return batch, bool(batch)

    def delete(self, messages: Iterable[NewImages]) -> None:
        self.deleted += messages

    def keep(self, messages: list[NewImages]) -> list[NewImages]:
        self.kept.append(list(messages))
        return [each for each in messages if each.receipt not in self.lost]

    def give_back(self, messages: Iterable[NewImages]) -> None:
        self.returned += messages


@dataclass
class FakeExecutions:
    """Executions; each start takes the number unless it is taken already."""

    running: bool = False
    latest: Started | None = None
    taken: set[int] = field(default_factory=set)
    started: list[Started] = field(default_factory=list)
    now: datetime = NOON + 2 * SECOND
    broken: bool = False

    def look(self) -> Situation:
        if self.broken:
            raise TransferError("Step Functions: no answer")
        return Situation(self.running, self.latest)

    def start(self, number: int, run_ids: frozenset[str]) -> Started | None:
        if number in self.taken:
            return None
        self.latest = Started(number, self.now, run_ids)
        self.started.append(self.latest)
        return self.latest


class Instant(Event):
    """An event on which nobody has to wait."""

    def wait(self, timeout: float | None = None) -> bool:
        return self.is_set()


def starter_of(queue: FakeQueue, executions: FakeExecutions, stop: Event | None = None) -> Starter:
    return Starter(
        queue,  # type: ignore[arg-type]
        executions,  # type: ignore[arg-type]
        new_metrics(),
        stop or Instant(),
        lambda: executions.now,
    )


def test_images_that_arrive_together_get_one_execution():
    first, second = message("2026-01-30-x2", receipt="a"), message("2026-01-31-x3", receipt="b")
    queue, executions = FakeQueue([[first], [second], []]), FakeExecutions()
    starter_of(queue, executions).turn()
    (started,) = executions.started
    assert started.number == 1
    assert started.run_ids == {"2026-01-30-x2", "2026-01-31-x3"}
    assert queue.deleted == [first, second]


def test_without_messages_nobody_asks_step_functions():
    queue, executions = FakeQueue([]), FakeExecutions(broken=True)
    starter_of(queue, executions).turn()
    assert not executions.started


def test_while_an_execution_runs_messages_are_held_and_then_start_the_next():
    image = message("2026-01-31-x2")
    queue, executions = FakeQueue([[image]]), FakeExecutions(running=True)
    starter = starter_of(queue, executions)
    starter.turn()
    queue.batches.append([message("2026-02-01-x2", receipt="later")])
    starter.turn()
    assert queue.kept == [[image], [image]]
    assert queue.batches  # no more were received
    assert not executions.started
    assert not queue.deleted
    executions.running = False
    starter.turn()
    assert [each.run_ids for each in executions.started] == [{"2026-01-31-x2"}]
    assert queue.deleted == [image]


def test_two_starts_are_a_minute_apart():
    executions = FakeExecutions(latest=Started(4, NOON, frozenset({"2026-01-31-x2"})))
    queue = FakeQueue([[message("2026-01-31-x2", sent_at=NOON + SECOND)]])
    starter = starter_of(queue, executions)
    executions.now = NOON + 59 * SECOND
    starter.turn()
    assert not executions.started
    executions.now = NOON + 60 * SECOND
    starter.turn()
    assert [each.number for each in executions.started] == [5]


def test_what_another_instance_started_covers_images_stored_before():
    covered = message("2026-01-31-x2", sent_at=NOON - SECOND, receipt="covered")
    later = message("2026-01-31-x2", sent_at=NOON + SECOND, receipt="later")
    other = message("2026-01-31-x3", sent_at=NOON - SECOND, receipt="other")
    executions = FakeExecutions(running=True, latest=Started(4, NOON, frozenset({"2026-01-31-x2"})))
    queue = FakeQueue([[covered, later, other]])
    starter_of(queue, executions).turn()
    assert queue.deleted == [covered]
    assert queue.kept == [[later, other]]


def test_a_number_that_is_taken_costs_no_message():
    image = message("2026-01-31-x2")
    queue, executions = FakeQueue([[image]]), FakeExecutions(taken={1})
    starter = starter_of(queue, executions)
    starter.turn()
    assert not queue.deleted
    executions.latest = Started(1, NOON + SECOND, frozenset({"2026-01-31-x2"}))
    starter.turn()
    assert queue.deleted == [image]
    assert not executions.started


def test_an_outage_of_step_functions_costs_no_message():
    image = message("2026-01-31-x2")
    queue, executions = FakeQueue([[image]]), FakeExecutions(broken=True)
    starter = starter_of(queue, executions)
    with pytest.raises(TransferError):
        starter.turn()
    assert queue.kept == [[image]]
    executions.broken = False
    starter.turn()
    assert queue.deleted == [image]


def test_messages_lost_to_others_start_nothing():
    queue, executions = FakeQueue([[message("2026-01-31-x2")]]), FakeExecutions(running=True)
    queue.lost = {"r"}
    starter = starter_of(queue, executions)
    starter.turn()
    executions.running = False
    starter.turn()
    assert not executions.started


class StopsAfter(Instant):
    """Is set when it has been waited for some times."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.left = waits

    def wait(self, timeout: float | None = None) -> bool:
        self.left -= 1
        if self.left == 0:
            self.set()
        return self.is_set()


def test_a_stop_gives_messages_back():
    image = message("2026-01-31-x2")
    queue, executions = FakeQueue([[image]]), FakeExecutions(running=True)
    starter_of(queue, executions, StopsAfter(2)).run()
    assert queue.returned == [image]
    assert not queue.deleted


def test_an_outage_shows_in_readiness_and_metrics():
    queue, executions = FakeQueue([[message("2026-01-31-x2")]]), FakeExecutions(broken=True)
    starter = starter_of(queue, executions, StopsAfter(1))
    starter.run()
    assert starter.failing == "Step Functions: no answer"
    registry: CollectorRegistry = starter._metrics.registry
    assert registry.get_sample_value("superres_starts_failures_total") == 1
    assert registry.get_sample_value("superres_starts_held") == 1


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "starts.queue_url"),
        ({"queue_url": "https://queue.invalid/q"}, "starts.state_machine_arn"),
    ],
)
def test_what_is_not_configured_is_named(given, missing):
    with pytest.raises(ConfigError, match=f"{missing} is not set"):
        start_runs(Starts(**given), Event())

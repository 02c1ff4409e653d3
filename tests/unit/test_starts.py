"""Starting runs for new images: what messages say, and when an execution starts."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

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
    ended = {} if status == "RUNNING" else {"stopDate": NOON + SECOND}
    return ended | {
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
    stub.add_response(
        "describe_execution",
        description("SUCCEEDED", {}),
        {"executionArn": f"{EXECUTION}:new-images-6"},
    )
    situation = Executions(client, MACHINE).look()
    runs = frozenset({"2026-01-31-x2"})
    assert situation.latest == Started(7, NOON, runs, "SUCCEEDED", NOON + SECOND)
    assert [each.number for each in situation.recent] == [7, 6]
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
    stub.add_response("describe_execution", description("SUCCEEDED", {}))
    situation = executions.look()
    assert situation.running
    assert situation.latest == Started(7, NOON, runs)
    assert [each.number for each in situation.recent] == [7, 6]


def test_lists_are_read_until_one_is_found_and_then_to_the_end_of_the_page():
    client, stub = stubbed("stepfunctions")
    others = [f"by-clock-{number}" for number in range(100)]
    stub.add_response("list_executions", listing())
    for page in (others, ["new-images-7", *others[1:]]):
        stub.add_response("list_executions", listing(*page) | {"nextToken": "more"})
    stub.add_response("describe_execution", description("SUCCEEDED", {}))
    assert [each.number for each in Executions(client, MACHINE).look().recent] == [7]
    stub.assert_no_pending_responses()


def test_the_input_of_an_earlier_execution_is_asked_for_once():
    client, stub = stubbed("stepfunctions")
    executions = Executions(client, MACHINE)
    seven = description("FAILED", {"run_ids": ["2026-01-31-x2"]})
    six = description("FAILED", {"run_ids": ["2026-01-30-x2"]})
    for described in ([seven, six], [seven]):
        stub.add_response("list_executions", listing())
        stub.add_response("list_executions", listing("new-images-7", "new-images-6"))
        for each in described:
            stub.add_response("describe_execution", each)
        found = executions.look().recent
    assert [each.run_ids for each in found] == [{"2026-01-31-x2"}, {"2026-01-30-x2"}]
    # The list has a redrive's success, where the earlier answer had a failure.
    assert [each.status for each in found] == ["FAILED", "SUCCEEDED"]
    stub.assert_no_pending_responses()


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

    def release(self, messages: Iterable[NewImages]) -> None:
        self.returned += messages


@dataclass
class FakeExecutions:
    """Executions; each start takes the number unless it is taken already."""

    running: bool = False
    recent: list[Started] = field(default_factory=list)
    taken: set[int] = field(default_factory=set)
    started: list[Started] = field(default_factory=list)
    now: datetime = NOON + 2 * SECOND
    broken: bool = False

    def look(self) -> Situation:
        if self.broken:
            raise TransferError("Step Functions: no answer")
        ours = any(each.status == "RUNNING" for each in self.recent)
        return Situation(self.running or ours, tuple(self.recent))

    def start(self, number: int, run_ids: frozenset[str]) -> Started | None:
        if number in self.taken:
            return None
        started = Started(number, self.now, run_ids)
        self.recent.insert(0, started)
        self.started.append(started)
        return started

    def end(self, status: str = "SUCCEEDED") -> None:
        """Ends the latest, which is running."""
        self.recent[0] = replace(self.recent[0], status=status, ended_at=self.now)


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


def turns(starter: Starter, number: int) -> None:
    for _ in range(number):
        starter.turn()


def ended(number: int, status: str) -> Started:
    """An execution of a second at noon."""
    return Started(number, NOON, frozenset({"2026-01-31-x2"}), status, NOON + SECOND)


def test_images_that_arrive_together_get_one_execution():
    first, second = message("2026-01-30-x2", receipt="a"), message("2026-01-31-x3", receipt="b")
    queue, executions = FakeQueue([[first], [second], []]), FakeExecutions()
    starter_of(queue, executions).turn()
    (started,) = executions.started
    assert started.number == 1
    assert started.run_ids == {"2026-01-30-x2", "2026-01-31-x3"}
    assert queue.kept == [[first, second]]


def test_without_messages_nobody_asks_step_functions():
    queue, executions = FakeQueue([]), FakeExecutions(broken=True)
    starter_of(queue, executions).turn()
    assert not executions.started


def test_messages_are_deleted_once_their_execution_has_succeeded():
    image = message("2026-01-31-x2")
    queue, executions = FakeQueue([[image]]), FakeExecutions()
    starter = starter_of(queue, executions)
    for _ in range(3):
        starter.turn()
        assert not queue.deleted
    assert queue.kept == [[image]] * 3
    executions.end()
    starter.turn()
    assert queue.deleted == [image]
    assert len(executions.started) == 1
    assert len(queue.kept) == 3


def test_while_an_execution_runs_messages_are_held_and_then_start_the_next():
    image, later = message("2026-01-31-x2"), message("2026-02-01-x2", receipt="later")
    queue, executions = FakeQueue([[image]]), FakeExecutions(running=True)
    starter = starter_of(queue, executions)
    starter.turn()
    queue.batches.append([later])
    starter.turn()
    assert queue.kept == [[image], [image]]
    assert queue.batches  # no more were received
    assert not executions.started
    executions.running = False
    turns(starter, 2)
    # What came in the meantime goes along.
    assert [each.run_ids for each in executions.started] == [{"2026-01-31-x2", "2026-02-01-x2"}]
    assert queue.kept[-1] == [image, later]


def test_two_starts_are_a_minute_apart():
    executions = FakeExecutions(recent=[ended(4, "SUCCEEDED")])
    queue = FakeQueue([[message("2026-01-31-x2", sent_at=NOON + SECOND)]])
    starter = starter_of(queue, executions)
    executions.now = NOON + 59 * SECOND
    turns(starter, 2)
    assert not executions.started
    executions.now = NOON + 60 * SECOND
    turns(starter, 2)
    assert [each.number for each in executions.started] == [5]


@pytest.mark.parametrize("status", ["FAILED", "TIMED_OUT", "ABORTED"])
def test_a_failed_execution_costs_no_message_and_the_next_starts_after_a_pause(status):
    image = message("2026-01-31-x2")
    queue, executions = FakeQueue([[image]]), FakeExecutions()
    starter = starter_of(queue, executions)
    starter.turn()
    for number, minutes in enumerate([1, 2, 4, 8, 16, 30, 30], start=2):
        executions.now += timedelta(hours=2)
        executions.end(status)
        pause = timedelta(minutes=minutes)
        executions.now += pause - SECOND
        turns(starter, 2)
        assert executions.started[-1].number == number - 1, "too early"
        executions.now += SECOND
        turns(starter, 2)
        assert executions.started[-1].number == number
    assert {each.run_ids for each in executions.started} == {image.run_ids}
    assert not queue.deleted
    executions.end()
    starter.turn()
    assert queue.deleted == [image]


def test_a_success_ends_the_pauses():
    failed = [ended(number, "FAILED") for number in (5, 3, 2, 1)]
    failed.insert(1, ended(4, "SUCCEEDED"))
    executions = FakeExecutions(recent=failed)
    executions.now = NOON + timedelta(minutes=1) + SECOND
    queue = FakeQueue([[message("2026-01-31-x2", sent_at=NOON + SECOND)]])
    starter_of(queue, executions).turn()
    assert [each.number for each in executions.started] == [6]


def test_a_failure_is_logged_once_with_what_follows():
    executions = FakeExecutions(recent=[ended(2, "ABORTED"), ended(1, "FAILED")])
    queue = FakeQueue([[message("2026-01-31-x2")]])
    starter = starter_of(queue, executions)
    with capture_logs() as logs:
        turns(starter, 2)
    (logged,) = (each for each in logs if each["event"] == "execution_failed")
    assert (logged["execution"], logged["status"], logged["failures"]) == (2, "ABORTED", 2)
    assert logged["next_one_after_seconds"] == 120


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "SUCCEEDED"])
def test_a_starter_that_dies_loses_no_message(status):
    image = message("2026-01-31-x2")
    executions = FakeExecutions()
    starter_of(FakeQueue([[image]]), executions).turn()
    if status != "RUNNING":
        executions.end(status)
    # Another instance receives what the dead one held.
    again = replace(image, receipt="again")
    queue = FakeQueue([[again]])
    starter = starter_of(queue, executions)
    starter.turn()
    assert len(executions.started) == 1
    assert queue.deleted == ([again] if status == "SUCCEEDED" else [])
    if status == "RUNNING":
        executions.end("FAILED")
    executions.now += timedelta(minutes=1)
    turns(starter, 2)
    assert len(executions.started) == (1 if status == "SUCCEEDED" else 2)


def test_what_another_instance_started_processes_images_stored_before():
    before = message("2026-01-31-x2", sent_at=NOON - SECOND, receipt="before")
    later = message("2026-01-31-x2", sent_at=NOON + SECOND, receipt="later")
    other = message("2026-01-31-x3", sent_at=NOON - SECOND, receipt="other")
    # It has started another one since, for other runs.
    next_one = Started(5, NOON + SECOND, frozenset({"2026-02-01-x2"}))
    executions = FakeExecutions(recent=[next_one, ended(4, "SUCCEEDED")])
    queue = FakeQueue([[before, later, other]])
    starter_of(queue, executions).turn()
    assert queue.deleted == [before]
    assert queue.kept == [[later, other]]


def test_a_number_that_is_taken_costs_no_message():
    image = message("2026-01-31-x2")
    queue, executions = FakeQueue([[image]]), FakeExecutions(taken={1})
    starter = starter_of(queue, executions)
    starter.turn()
    assert not queue.deleted
    executions.recent = [Started(1, NOON + SECOND, frozenset({"2026-01-31-x2"}))]
    starter.turn()
    assert not queue.deleted
    executions.end()
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
    turns(starter, 2)
    executions.end()
    starter.turn()
    assert queue.deleted == [image]


def test_messages_lost_to_others_start_nothing():
    queue, executions = FakeQueue([[message("2026-01-31-x2")]]), FakeExecutions(running=True)
    queue.lost = {"r"}
    starter = starter_of(queue, executions)
    starter.turn()
    executions.running = False
    turns(starter, 2)
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
        start_runs(Starts(**given), Event(), 20.0)

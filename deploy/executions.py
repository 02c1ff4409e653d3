"""Executions of the state machine: starting one, following it, telling why it failed."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deploy.steps import POLL_SECONDS, Pause, Step, StepStatus, Tell, minutes, step_status
from superres.errors import PrerequisiteError

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_stepfunctions import SFNClient

_TRIES = 5  # at a free number, when others start the same run at the same time


@dataclass(frozen=True)
class Request:
    """What to run; nothing at all means the images of yesterday and today."""

    ingest_date: str | None = None
    run_id: str | None = None
    scale: int | None = None
    redo: bool = False

    def to_input(self) -> dict[str, Any]:
        """The input of the execution, what was not said left out."""
        said = {"ingest_date": self.ingest_date, "run_id": self.run_id, "scale": self.scale}
        given: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        return given | ({"redo": True} if self.redo else {})


def run_of(content: Mapping[str, Any], default_scale: int) -> str:
    """The run that an input means: its run_id, or what date and scale make of it."""
    if content.get("run_id"):
        return str(content["run_id"])
    return f"{content.get('ingest_date') or 'recent'}-x{content.get('scale') or default_scale}"


@dataclass(frozen=True)
class Execution:
    """One execution, and whether it was running before."""

    arn: str
    name: str
    found: bool = False


def submit(states: "SFNClient", machine: str, request: Request, default_scale: int) -> Execution:
    """Starts an execution named ``{run}-{attempt}``, or finds the one of this run that runs.

    A name can be used once in 90 days, hence the number.
    """
    content = request.to_input()
    run = run_of(content, default_scale)
    for execution in running(states, machine):
        asked = json.loads(states.describe_execution(executionArn=execution.arn).get("input", "{}"))
        if isinstance(asked, dict) and run_of(asked, default_scale) == run:
            return Execution(execution.arn, execution.name, found=True)
    prefix = f"{run.replace('.', '_')[:70]}-"  # 80 characters, and no dots
    names = [execution.name for execution in listed(states, machine)]
    numbers = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    attempt = 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)
    for number in range(attempt, attempt + _TRIES):
        name = f"{prefix}{number}"
        try:
            started = states.start_execution(
                stateMachineArn=machine, name=name, input=json.dumps(content)
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ExecutionAlreadyExists":
                raise
        else:
            return Execution(started["executionArn"], name)
    raise PrerequisiteError(f"{run}: {_TRIES} others started it meanwhile; look with make status")


def running(states: "SFNClient", machine: str) -> Iterator[Execution]:
    """The executions that are not over."""
    return listed(states, machine, "RUNNING")


def listed(states: "SFNClient", machine: str, status: str | None = None) -> Iterator[Execution]:
    """All executions, or those of one status, the latest first."""
    wanted: Any = {"statusFilter": status} if status else {}
    for page in states.get_paginator("list_executions").paginate(stateMachineArn=machine, **wanted):
        for each in page["executions"]:
            yield Execution(each["executionArn"], each["name"])


# ---- following


@dataclass
class _Task:
    """A call of EMR that the execution makes, as its history tells."""

    kind: str  # addStep, createCluster, terminateCluster
    cluster: str = ""
    name: str = ""
    run: str = ""
    step: Step | None = None
    told: str = ""

    @property
    def label(self) -> str:
        words = {"createCluster": "a cluster", "terminateCluster": f"cluster {self.cluster}"}
        return words.get(self.kind, f"{self.run} {self.name}".strip())


@dataclass
class History:
    """What has been read of an execution's history."""

    last: int = 0
    tasks: dict[int, _Task] = field(default_factory=dict)  # by event

    def read(self, events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Takes new events in order; yields what is worth a line."""
        for event in events:
            self.last = int(event["id"])
            task = self.tasks.get(event.get("previousEventId", 0))
            if event["type"] == "TaskScheduled":
                task = _scheduled(event["taskScheduledEventDetails"])
            if task is None:
                continue
            # Started, submitted and ended come one after another and lead back to their task.
            self.tasks[self.last] = task
            yield from _told(task, event)

    def open_steps(self) -> list[_Task]:
        """Steps that were submitted and are not over."""
        unique = {id(task): task for task in self.tasks.values() if task.step}
        return [task for task in unique.values() if task.told != "over"]


def _scheduled(details: Mapping[str, Any]) -> _Task | None:
    if details.get("resourceType") != "elasticmapreduce":
        return None
    parameters = json.loads(details["parameters"])
    kind = details["resource"].partition(".")[0]
    step = parameters.get("Step", {})
    arguments = step.get("HadoopJarStep", {}).get("Args", [])
    run = arguments[arguments.index("--run-id") + 1] if "--run-id" in arguments else ""
    return _Task(kind, parameters.get("ClusterId", ""), step.get("Name", ""), run)


def _told(task: _Task, event: Mapping[str, Any]) -> Iterator[str]:
    kind = event["type"]
    if kind == "TaskScheduled" and task.kind == "createCluster":
        yield "a cluster is being made; that takes ten minutes or so"
    elif kind == "TaskScheduled" and task.kind == "terminateCluster":
        yield f"{task.label} is being terminated"
    elif kind == "TaskSubmitted":
        output = json.loads(event["taskSubmittedEventDetails"].get("output") or "{}")
        if "StepId" in output:
            task.step = Step(task.cluster, output["StepId"])
        if task.kind == "createCluster" and "ClusterId" in output:
            yield f"cluster {output['ClusterId']} is starting"
    elif kind in ("TaskFailed", "TaskTimedOut") and task.step is None:
        details = event.get("taskFailedEventDetails") or event.get("taskTimedOutEventDetails") or {}
        yield f"{task.label}: {details.get('error', kind)}: {one_line(details.get('cause', ''))}"


@dataclass(frozen=True)
class Outcome:
    """How an execution ended."""

    status: str
    error: str = ""
    cause: str = ""
    output: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether all went well, which may have been nothing."""
        return self.status == "SUCCEEDED"

    @property
    def runs(self) -> list[str]:
        """What became of each run, a line for each, of an execution that succeeded."""
        ended = json.loads(self.output or "{}")
        if not isinstance(ended, list):  # the state machine went no further than to look
            return ["there is no image to process"]
        return [f"{run['run_id']}: {run['outcome']}" for run in ended]


def follow(
    states: "SFNClient",
    emr: "EMRClient",
    arn: str,
    log_uri: str,
    tell: Tell,
    pause: Pause = time.sleep,
) -> Outcome:
    """Tells what an execution does, step by step, until it is over."""
    history = History()
    while True:
        # Asked before the history: whatever led to the end is in the history then.
        now = states.describe_execution(executionArn=arn)
        for line in history.read(_new_events(states, arn, history.last)):
            tell(line)
        for task in history.open_steps():
            _tell_step(task, emr, log_uri, tell)
        if now["status"] != "RUNNING":
            break
        pause(POLL_SECONDS)
    return Outcome(
        now["status"], now.get("error", ""), one_line(now.get("cause", "")), now.get("output", "")
    )


def _new_events(states: "SFNClient", arn: str, last: int) -> list[dict[str, Any]]:
    """The events after a known one, oldest first; read from the end, so that it stays short."""
    found: list[dict[str, Any]] = []
    pages = states.get_paginator("get_execution_history").paginate(
        executionArn=arn, reverseOrder=True
    )
    for page in pages:
        events: list[Any] = [event for event in page["events"] if event["id"] > last]
        found += events
        if len(events) < len(page["events"]):
            break
    return found[::-1]


def _tell_step(task: _Task, emr: "EMRClient", log_uri: str, tell: Tell) -> None:
    assert task.step is not None
    status: StepStatus = step_status(emr, task.step)
    if status.told != task.told:
        log = f"; log {task.step.log(log_uri)}" if status.state not in ("PENDING",) else ""
        tell(f"{task.label}: {status.told} ({task.step.id}){log}")
    task.told = "over" if status.over else status.told


def one_line(text: str) -> str:
    """EMR's and Step Functions' causes are JSON over several lines at times."""
    return " ".join(text.split())


# ---- looking back


@dataclass(frozen=True)
class Past:
    """A line of ``make status``."""

    name: str
    status: str
    started: str
    took: str


def recent(states: "SFNClient", machine: str, most: int = 10) -> list[Past]:
    """The latest executions, newest first."""
    page = states.list_executions(stateMachineArn=machine, maxResults=most)
    found = []
    for each in page["executions"]:
        stop = each.get("stopDate")
        took = minutes((stop - each["startDate"]).total_seconds()) if stop else ""
        started = f"{each['startDate']:%Y-%m-%d %H:%M}"
        found.append(Past(each["name"], each["status"].lower(), started, took))
    return found


def steps_of(states: "SFNClient", arn: str) -> list[tuple[str, Step]]:
    """The steps that an execution submitted, in order, with what they are called."""
    history = History()
    list(history.read(_new_events(states, arn, 0)))
    unique = {id(task): task for task in history.tasks.values()}
    return [(task.label, task.step) for task in unique.values() if task.step is not None]

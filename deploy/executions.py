"""Executions of the state machine: starting one, following it, and listing past ones."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deploy.callbacks import Pause, Report
from deploy.steps import POLL_SECONDS, Step, StepStatus, format_duration, step_status
from superres.errors import PrerequisiteError
from superres.service.executions import ListedExecution, list_executions, start_execution

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_stepfunctions import SFNClient

_TRIES = 5  # to find a free number while others start the same run


@dataclass(frozen=True)
class Request:
    """What to run; without any value, the images of yesterday and today."""

    ingest_date: str | None = None
    run_id: str | None = None
    scale: int | None = None
    redo: bool = False

    def to_input(self) -> dict[str, Any]:
        """Returns the input of the execution, without the values that are not set."""
        values = {"ingest_date": self.ingest_date, "run_id": self.run_id, "scale": self.scale}
        given: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
        return given | ({"redo": True} if self.redo else {})


def run_id_of(content: Mapping[str, Any], default_scale: int) -> str:
    """Returns the run ids that an input leads to: its own, or one made of date and scale."""
    return " ".join(_runs_of(content, default_scale))


def _runs_of(content: Mapping[str, Any], default_scale: int) -> list[str]:
    if content.get("run_id"):
        return [str(content["run_id"])]
    if content.get("run_ids"):  # what new images start
        return [str(each) for each in content["run_ids"]]
    return [f"{content.get('ingest_date') or 'recent'}-x{content.get('scale') or default_scale}"]


@dataclass(frozen=True)
class Execution:
    """One execution, and whether it was running before it was submitted."""

    arn: str
    name: str
    already_running: bool = False


def submit(
    stepfunctions: "SFNClient", state_machine: str, request: Request, default_scale: int
) -> Execution:
    """Starts an execution named ``{run}-{number}``, or finds the running one of the same run.

    A name can be used once in 90 days, hence the number.
    """
    content = request.to_input()
    run = run_id_of(content, default_scale)
    for execution in running_executions(stepfunctions, state_machine):
        if named_runs(stepfunctions, execution.arn, default_scale) == {run}:
            return Execution(execution.arn, execution.name, already_running=True)
    prefix = f"{run.replace('.', '_')[:70]}-"  # 80 characters, and no dots
    names = [execution.name for execution in list_executions(stepfunctions, state_machine)]
    numbers = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
    first = 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)
    for number in range(first, first + _TRIES):
        started = start_execution(stepfunctions, state_machine, f"{prefix}{number}", content)
        if started is not None:
            return Execution(started.arn, started.name)
    raise PrerequisiteError(f"{run}: {_TRIES} others started it meanwhile; see make status")


def running_executions(stepfunctions: "SFNClient", state_machine: str) -> Iterator[ListedExecution]:
    """Yields the executions that have not ended."""
    return list_executions(stepfunctions, state_machine, "RUNNING")


def named_runs(stepfunctions: "SFNClient", arn: str, default_scale: int) -> set[str]:
    """Returns the run ids that the input of an execution leads to."""
    described = stepfunctions.describe_execution(executionArn=arn)
    content = json.loads(described.get("input") or "{}")
    return set(_runs_of(content, default_scale)) if isinstance(content, dict) else set()


# ---- following


@dataclass
class _Task:
    """A call to EMR in the history of an execution."""

    kind: str  # addStep, createCluster, terminateCluster
    cluster: str = ""
    name: str = ""
    run: str = ""
    step: Step | None = None
    reported: str = ""  # the last summary of the step
    ended: bool = False

    @property
    def label(self) -> str:
        labels = {"createCluster": "a cluster", "terminateCluster": f"cluster {self.cluster}"}
        return labels.get(self.kind, f"{self.run} {self.name}".strip())


@dataclass
class History:
    """What has been read so far of an execution's history."""

    last: int = 0
    tasks: dict[int, _Task] = field(default_factory=dict)  # by event

    def read(self, events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        """Reads new events in order; yields a line for each that matters to people."""
        for event in events:
            self.last = int(event["id"])
            task = self.tasks.get(event.get("previousEventId", 0))
            if event["type"] == "TaskScheduled":
                task = _scheduled(event["taskScheduledEventDetails"])
            if task is None:
                continue
            # The events of a task follow one another and lead back to its first.
            self.tasks[self.last] = task
            yield from _describe(task, event)

    def open_steps(self) -> list[_Task]:
        """Returns the steps that were submitted and have not ended."""
        unique = {id(task): task for task in self.tasks.values() if task.step}
        return [task for task in unique.values() if not task.ended]


def _scheduled(details: Mapping[str, Any]) -> _Task | None:
    if details.get("resourceType") != "elasticmapreduce":
        return None
    parameters = json.loads(details["parameters"])
    kind = details["resource"].partition(".")[0]
    step = parameters.get("Step", {})
    arguments = step.get("HadoopJarStep", {}).get("Args", [])
    run = arguments[arguments.index("--run-id") + 1] if "--run-id" in arguments else ""
    return _Task(kind, parameters.get("ClusterId", ""), step.get("Name", ""), run)


def _describe(task: _Task, event: Mapping[str, Any]) -> Iterator[str]:
    kind = event["type"]
    if kind == "TaskScheduled" and task.kind == "createCluster":
        yield "a cluster is being created, which takes about ten minutes"
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
        """Whether it ended without an error, even if there was nothing to do."""
        return self.status == "SUCCEEDED"

    @property
    def runs(self) -> list[str]:
        """The outcome of each run of an execution that succeeded, a line each."""
        ended = json.loads(self.output or "{}")
        if not isinstance(ended, list):  # it found no images and ended
            return ["there is no image to process"]
        return [f"{run['run_id']}: {run['outcome']}{_counts(run)}" for run in ended]


def _counts(run: Mapping[str, Any]) -> str:
    """What a run that has finished counted."""
    if "images" not in run:
        return ""
    return f" {run['images']} images, {run['rejected']} rejected"


def follow(
    stepfunctions: "SFNClient",
    emr: "EMRClient",
    arn: str,
    log_uri: str,
    report: Report,
    pause: Pause = time.sleep,
) -> Outcome:
    """Reports the steps of an execution until it ends."""
    history = History()
    while True:
        # Read before the history, so that the history of an ended execution is complete.
        now = stepfunctions.describe_execution(executionArn=arn)
        for line in history.read(_new_events(stepfunctions, arn, history.last)):
            report(line)
        for task in history.open_steps():
            _report_step(task, emr, log_uri, report)
        if now["status"] != "RUNNING":
            break
        pause(POLL_SECONDS)
    return Outcome(
        now["status"], now.get("error", ""), one_line(now.get("cause", "")), now.get("output", "")
    )


def _new_events(stepfunctions: "SFNClient", arn: str, last: int) -> list[dict[str, Any]]:
    """Returns the events after ``last``, oldest first; reads from the end, to stay fast."""
    found: list[dict[str, Any]] = []
    pages = stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=arn, reverseOrder=True
    )
    for page in pages:
        events: list[Any] = [event for event in page["events"] if event["id"] > last]
        found += events
        if len(events) < len(page["events"]):
            break
    return found[::-1]


def _report_step(task: _Task, emr: "EMRClient", log_uri: str, report: Report) -> None:
    assert task.step is not None
    status: StepStatus = step_status(emr, task.step)
    if status.summary != task.reported:
        log = "" if status.state == "PENDING" else f"; log {task.step.log(log_uri)}"
        report(f"{task.label}: {status.summary} ({task.step.id}){log}")
    task.reported, task.ended = status.summary, status.ended


def one_line(text: str) -> str:
    """Joins lines: causes from EMR and Step Functions are sometimes JSON over several lines."""
    return " ".join(text.split())


# ---- past executions


@dataclass(frozen=True)
class PastExecution:
    """A line of ``make status``."""

    name: str
    status: str
    started: str
    duration: str


def latest_executions(
    stepfunctions: "SFNClient", state_machine: str, limit: int = 10
) -> list[PastExecution]:
    """Returns the latest executions, newest first."""
    page = stepfunctions.list_executions(stateMachineArn=state_machine, maxResults=limit)
    found = []
    for each in page["executions"]:
        stop = each.get("stopDate")
        duration = format_duration((stop - each["startDate"]).total_seconds()) if stop else ""
        started = f"{each['startDate']:%Y-%m-%d %H:%M}"
        found.append(PastExecution(each["name"], each["status"].lower(), started, duration))
    return found


def steps_of(stepfunctions: "SFNClient", arn: str) -> list[tuple[str, Step]]:
    """Returns label and step of each step that an execution submitted, in order."""
    history = History()
    list(history.read(_new_events(stepfunctions, arn, 0)))
    unique = {id(task): task for task in history.tasks.values()}
    return [(task.label, task.step) for task in unique.values() if task.step is not None]

"""Failures and cancellation of executions, steps and the cluster, with AWS's own API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from superres.pipeline import storage
from tests.local_cloud.executions import (
    Day,
    clients_on,
    eventually,
    open_steps,
    running_step,
    state_of,
    steps_of,
)
from tests.local_cloud.stack import Stack


@pytest.fixture(autouse=True)
def project_clients(stack: Stack) -> Iterator[None]:
    with clients_on(stack):
        yield


@pytest.fixture
def cluster(stack: Stack) -> str:
    return str(stack.outputs["cluster_id"])


@contextmanager
def impatient(stack: Stack, job: str, seconds: int) -> Iterator[None]:
    """Gives a job a shorter timeout while the state machine is changed.

    Not a copy of the state machine: the role trusts this one alone.
    """
    states, arn = stack.client("stepfunctions"), stack.outputs["state_machine_arn"]
    deployed = states.describe_state_machine(stateMachineArn=arn)["definition"]
    definition = json.loads(deployed)
    for state in definition["States"]["Runs"]["ItemProcessor"]["States"].values():
        if state.get("Parameters", {}).get("Step", {}).get("Name") == job:
            state["TimeoutSeconds"] = seconds
    states.update_state_machine(stateMachineArn=arn, definition=json.dumps(definition))
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=arn, definition=deployed)


def test_a_bad_configuration_fails_the_step_and_the_execution_with_its_reason(
    stack: Stack, cluster: str, tmp_path: Path
) -> None:
    day = Day(stack, date(2026, 2, 1))
    day.take_in(tmp_path, "one")
    uri = stack.outputs["config_uri"]
    good = storage.read_bytes(uri)
    storage.write_bytes(uri, good.replace(b"upscale_factor", b"upscale_faktor"))
    try:
        ended = day.start().ended()
    finally:
        storage.write_bytes(uri, good)
    assert (ended["status"], ended["error"]) == ("FAILED", "SuperResolution.RunFailed")
    assert "mass_split" in ended["cause"]
    latest = steps_of(stack, cluster)[0]["Status"]
    assert latest["State"] == "FAILED"
    assert "upscale_faktor" in latest["FailureDetails"]["Message"]
    assert storage.exists(latest["FailureDetails"]["LogFile"])
    assert state_of(stack, cluster) == "WAITING"  # it is used for other executions


def test_a_step_that_takes_too_long_is_cancelled(
    stack: Stack, cluster: str, tmp_path: Path
) -> None:
    day = Day(stack, date(2026, 2, 2))
    day.take_in(tmp_path, "one")
    with impatient(stack, "mass_split", seconds=2):
        ended = day.start().ended()
    assert (ended["status"], ended["error"]) == ("FAILED", "SuperResolution.RunFailed")
    assert "States.Timeout" in ended["cause"]
    eventually(lambda: not open_steps(stack, cluster), "the step is cancelled")
    assert steps_of(stack, cluster)[0]["Status"]["State"] == "CANCELLED"
    eventually(lambda: not day.processes(), "its processes end")


def test_a_cancelled_step_fails_the_execution(stack: Stack, cluster: str, tmp_path: Path) -> None:
    day = Day(stack, date(2026, 2, 3))
    day.take_in(tmp_path, "one")
    execution = day.start()
    step = running_step(stack, cluster, "mass_split")
    eventually(lambda: bool(day.processes()), "its processes begin")
    stack.client("emr").cancel_steps(
        ClusterId=cluster, StepIds=[step], StepCancellationOption="TERMINATE_PROCESS"
    )
    ended = execution.ended()
    assert (ended["status"], ended["error"]) == ("FAILED", "SuperResolution.RunFailed")
    assert "States.TaskFailed" in ended["cause"]
    assert steps_of(stack, cluster)[0]["Status"]["State"] == "CANCELLED"
    eventually(lambda: not day.processes(), "its processes end")
    assert state_of(stack, cluster) == "WAITING"

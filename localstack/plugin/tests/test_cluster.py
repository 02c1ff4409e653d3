"""The lifecycle of a cluster on a fake machine, which can take every path through it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from localstack_emr_msk.calls import Caller
from localstack_emr_msk.emr.cluster import ENDED, Cluster, Ending
from localstack_emr_msk.emr.machine import MachineError
from localstack_emr_msk.emr.steps import Step
from localstack_emr_msk.emr.views import description, status
from localstack_emr_msk.errors import ServiceError

CALLER = Caller("000000000000", "eu-central-1")


class FakeTask:
    """Runs until the test finishes or stops it."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._code = 143

    def finish(self, code: int) -> None:
        self._code = code
        self._over.set()

    def stop(self) -> None:
        self._over.set()

    def wait(self) -> int:
        assert self._over.wait(20)
        return self._code


@dataclass
class FakeMachine:
    """Records what it is asked to run."""

    boots: dict[int, FakeTask] = field(default_factory=dict)
    steps: dict[str, FakeTask] = field(default_factory=dict)
    ready: bool = False
    stopped: bool = False
    spark_fails: bool = False

    def bootstrap(self, number: int, script: str, arguments: Sequence[str]) -> FakeTask:
        if script == "s3://missing":
            raise MachineError("cannot read s3://missing")
        return self.boots.setdefault(number, FakeTask())

    def start_applications(self) -> None:
        if self.spark_fails:
            raise MachineError("Spark does not come up")
        self.ready = True

    def step(self, step: str, jar: str, arguments: Sequence[str]) -> FakeTask:
        if jar != "command-runner.jar":
            raise MachineError(f"{jar} cannot run here")
        return self.steps.setdefault(step, FakeTask())

    def failure(self, logs: str) -> str:
        return f"the end of {logs}"

    def append_error(self, logs: str, text: str) -> None:
        pass

    def copy_logs(self, logs: str) -> str | None:
        return f"s3://logs/{logs}"

    def stop(self) -> None:
        self.stopped = True


@dataclass
class Made:
    cluster: Cluster
    machine: FakeMachine

    def until(self, check: Callable[[], object]) -> None:
        deadline = time.monotonic() + 20
        while not check():
            assert time.monotonic() < deadline, status(self.cluster)
            time.sleep(0.005)

    def reaches(self, state: str) -> None:
        self.until(lambda: self.cluster.state == state)

    def running(self, number: int) -> FakeTask:
        """Returns the task of a step, once it runs."""
        step = self.cluster.steps[number]
        self.until(lambda: step.task is not None)
        return self.machine.steps[step.id]

    def states(self) -> list[str]:
        return [each.state for each in self.cluster.steps]


Make = Callable[..., Made]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Cluster] = []

    def begin(
        machine: FakeMachine | None = None, instances: dict[str, Any] | None = None, **more: Any
    ) -> Made:
        machine = machine or FakeMachine()
        request = {
            "Name": "test",
            "ReleaseLabel": "emr-spark-8.1.0",
            "Instances": {
                "KeepJobFlowAliveWhenNoSteps": True,
                "MasterInstanceType": "m6i.xlarge",
                **(instances or {}),
            },
        }
        cluster = Cluster(CALLER, request | more, lambda _: machine, lambda: None)
        made.append(cluster)
        cluster.start()
        return Made(cluster, machine)

    yield begin
    for cluster in made:
        cluster.end(Ending("USER_REQUEST", "the test is over"))
        cluster.join(10)
        assert cluster.state in ENDED


def step(on_failure: str = "CONTINUE", jar: str = "command-runner.jar") -> dict[str, Any]:
    return {"Name": "it", "ActionOnFailure": on_failure, "HadoopJarStep": {"Jar": jar}}


def action(path: str = "s3://boot") -> dict[str, Any]:
    return {"Name": "it", "ScriptBootstrapAction": {"Path": path}}


def test_bootstrap_actions_run_one_after_another_before_applications(make: Make) -> None:
    made = make(BootstrapActions=[action(), action()], Steps=[step()])
    made.until(lambda: 1 in made.machine.boots)
    assert made.cluster.state == "BOOTSTRAPPING"
    assert 2 not in made.machine.boots
    made.machine.boots[1].finish(0)
    made.until(lambda: 2 in made.machine.boots)
    assert not made.machine.ready
    assert made.states() == ["PENDING"]
    made.machine.boots[2].finish(0)
    made.reaches("RUNNING")
    made.running(0).finish(0)
    made.reaches("WAITING")
    assert description(made.cluster)["Status"]["Timeline"].keys() == {
        "CreationDateTime",
        "ReadyDateTime",
    }


@pytest.mark.parametrize("path", ["s3://boot", "s3://missing"])
def test_a_failed_bootstrap_action_terminates_the_cluster(make: Make, path: str) -> None:
    made = make(BootstrapActions=[action(path)], Steps=[step()])
    if path == "s3://boot":
        made.until(lambda: 1 in made.machine.boots)
        made.machine.boots[1].finish(9)
    made.reaches("TERMINATED_WITH_ERRORS")
    assert made.cluster.code == "BOOTSTRAP_FAILURE"
    assert "bootstrap action 1 returned a non-zero return code" in made.cluster.message
    assert made.states() == ["CANCELLED"]
    assert made.machine.stopped
    assert not made.machine.ready


def test_applications_that_do_not_start_terminate_the_cluster(make: Make) -> None:
    made = make(FakeMachine(spark_fails=True))
    made.reaches("TERMINATED_WITH_ERRORS")
    assert made.cluster.message == "Spark does not come up"


def test_terminating_while_bootstrapping_stops_the_script(make: Make) -> None:
    made = make(BootstrapActions=[action()])
    made.until(lambda: 1 in made.machine.boots)
    made.cluster.end(Ending("USER_REQUEST", "enough"))
    made.reaches("TERMINATED")
    assert (made.cluster.code, made.cluster.message) == ("USER_REQUEST", "enough")


def test_steps_run_one_by_one_unless_concurrency_is_higher(make: Make) -> None:
    made = make(Steps=[step(), step(), step()])
    made.running(0)
    assert made.states() == ["RUNNING", "PENDING", "PENDING"]
    with made.cluster.changed:
        made.cluster.concurrency = 2
        made.cluster.changed.notify_all()
    made.running(1)
    assert made.states() == ["RUNNING", "RUNNING", "PENDING"]
    made.running(1).finish(0)
    made.running(2)
    assert made.states() == ["RUNNING", "COMPLETED", "RUNNING"]


def test_a_failed_step_has_its_reason(make: Make) -> None:
    made = make(Steps=[step(), step(jar="other.jar")])
    made.running(0).finish(3)
    made.reaches("WAITING")
    first, second = (each.view()["Status"] for each in made.cluster.steps)
    where = f"steps/{made.cluster.steps[0].id}"
    assert first["State"] == second["State"] == "FAILED"
    assert first["FailureDetails"] == {
        "Reason": "Unknown Error.",
        "Message": f"the end of {where}",
        "LogFile": f"s3://logs/{where}/stderr.gz",
    }
    assert second["FailureDetails"]["Reason"] == "The step cannot start."


def test_continue_runs_the_next_step(make: Make) -> None:
    made = make(Steps=[step("CONTINUE"), step()])
    made.running(0).finish(1)
    made.running(1).finish(0)
    made.reaches("WAITING")
    assert made.states() == ["FAILED", "COMPLETED"]


def test_cancel_and_wait_cancels_the_others(make: Make) -> None:
    made = make(Steps=[step("CANCEL_AND_WAIT"), step(), step()])
    made.running(0).finish(1)
    made.reaches("WAITING")
    assert made.states() == ["FAILED", "CANCELLED", "CANCELLED"]


@pytest.mark.parametrize("asked", ["CANCEL_AND_WAIT", "TERMINATE_CLUSTER"])
def test_a_failed_step_stops_nothing_when_steps_run_concurrently(make: Make, asked: str) -> None:
    made = make(Steps=[step(asked), step(), step()])
    made.running(0)
    with made.cluster.changed:
        made.cluster.concurrency = 2
        made.cluster.changed.notify_all()
    made.running(1)
    made.running(0).finish(1)
    for number in (1, 2):
        made.running(number).finish(0)
    made.reaches("WAITING")
    assert made.states() == ["FAILED", "COMPLETED", "COMPLETED"]


@pytest.mark.parametrize("asked", ["TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"])
def test_terminate_ends_the_cluster_unless_it_is_protected(make: Make, asked: str) -> None:
    made = make(Steps=[step(asked), step()])
    made.running(0).finish(1)
    made.reaches("TERMINATED_WITH_ERRORS")
    assert made.cluster.code == "STEP_FAILURE"
    assert made.states() == ["FAILED", "CANCELLED"]
    guarded = make(Steps=[step(asked), step()], instances={"TerminationProtected": True})
    guarded.running(0).finish(1)
    guarded.reaches("WAITING")
    assert guarded.states() == ["FAILED", "CANCELLED"]


def test_a_running_step_is_cancelled_when_its_process_has_ended(make: Make) -> None:
    made = make(Steps=[step()])
    made.running(0)
    assert made.cluster.cancel(made.cluster.steps[0])
    made.until(lambda: made.states() == ["CANCELLED"])
    assert not made.cluster.cancel(made.cluster.steps[0])
    assert "FailureDetails" not in made.cluster.steps[0].view()["Status"]


def test_without_keep_alive_a_cluster_ends_with_its_last_step(make: Make) -> None:
    made = make(Steps=[step()], instances={"KeepJobFlowAliveWhenNoSteps": False})
    made.running(0).finish(0)
    made.reaches("TERMINATED")
    assert made.cluster.code == "ALL_STEPS_COMPLETED"


def test_an_idle_cluster_is_terminated_by_its_policy(make: Make) -> None:
    made = make(AutoTerminationPolicy={"IdleTimeout": 0.3}, Steps=[step()])
    task = made.running(0)
    time.sleep(0.5)
    assert made.cluster.state == "RUNNING"
    task.finish(0)
    made.reaches("TERMINATED")
    assert "auto-termination" in made.cluster.message


def test_a_terminating_or_terminated_cluster_accepts_no_steps(make: Make) -> None:
    made = make()
    made.reaches("WAITING")
    made.cluster.end(Ending("USER_REQUEST", "enough"))
    with pytest.raises(ServiceError, match="may not be modified"):
        made.cluster.add([Step(step())])


def test_at_most_256_steps_may_be_active(make: Make) -> None:
    made = make(BootstrapActions=[action()])
    made.until(lambda: made.cluster.state == "BOOTSTRAPPING")
    made.cluster.add([Step(step()) for _ in range(255)])
    with pytest.raises(ServiceError, match="Maximum number of active steps"):
        made.cluster.add([Step(step()), Step(step())])
    made.cluster.add([Step(step())])
    assert made.cluster.cancel(made.cluster.steps[0])
    made.cluster.add([Step(step())])

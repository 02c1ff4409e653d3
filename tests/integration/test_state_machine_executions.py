"""What the state machine decides, in LocalStack's interpreter."""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
import pytest

from superres.pipeline.records import start_id_of
from tests.support.http_server import until
from tests.support.localstack import REGION, LocalCloud
from tests.support.state_machine import JOBS, Lifecycle, machines, rendered

pytestmark = pytest.mark.localstack
MISSING = "none-such-bucket"
# None of these names a run.
UNREADABLE = ("abc", "2026-01-31-x9", "2026-01-31-x22", "2026-01-31-again-x2", "20----x2", "", 5)


@dataclass(frozen=True)
class Result:
    """How an execution ended, the states it entered, and the arguments of its steps."""

    status: str
    error: str
    cause: str
    output: Any
    started_at: datetime
    entered: list[str]
    arguments: list[list[str]]

    @property
    def run_ids(self) -> list[str]:
        """The runs that were split, in order."""
        return [each[3] for each in self.arguments if each[1] == "mass_split.py"]


class Machine:
    """The state machine in LocalStack, with EMR's tasks replaced by fixed results."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.bucket = f"raw-{uuid.uuid4().hex[:12]}"
        self.s3 = cloud.s3()
        self.s3.create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        session = boto3.session.Session("test", "test", region_name=REGION)
        self.client = session.client("stepfunctions", endpoint_url=cloud.endpoint)
        self.role = make_role(session.client("iam", endpoint_url=cloud.endpoint), self.bucket)

    def store(self, *days: str, scale: int = 2) -> None:
        for day in days:
            key = f"low_resolution/scale={scale}/ingest_date={day}/{'0' * 32}.png"
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=b"")

    def start(
        self,
        given: dict[str, Any],
        lifecycle: Lifecycle = "persistent",
        failing: tuple[str, ...] = (),
        cluster_state: str = "WAITING",
        images_left: int = 1,
    ) -> str:
        """Starts an execution in which the tasks named in ``failing`` fail."""
        definition = rendered(lifecycle, self.bucket)
        answers = {
            "FindCluster": {"ClusterId": "j-1", "State": cluster_state},
            "CreateCluster": {"ClusterId": "j-2"},
            "ReadReport": {"counted": {"job": "mass_split", "images": images_left}},
            "ReadCounts": {"counted": {"images": 50, "rejected": 1, "rejected_by_run": 5}},
        }
        for machine in machines(definition):
            for name, state in machine["States"].items():
                if state["Type"] == "Task" and name != "ListImages":
                    machine["States"][name] = _replacement(
                        state, answers.get(name), name in failing
                    )
        arn = self.client.create_state_machine(
            name=f"test-{uuid.uuid4().hex[:12]}",
            definition=json.dumps(definition),
            roleArn=self.role,
        )["stateMachineArn"]
        started = self.client.start_execution(stateMachineArn=arn, input=json.dumps(given))
        return started["executionArn"]

    def follow(self, execution: str) -> Result:
        until(lambda: self._describe(execution)["status"] != "RUNNING", seconds=120)
        pages = self.client.get_paginator("get_execution_history").paginate(executionArn=execution)
        events: list[Any] = [event for page in pages for event in page["events"]]
        states = [
            each[f"state{kind}EventDetails"] | {"kind": kind}
            for each in events
            for kind in ("Entered", "Exited")
            if each["type"].endswith(f"State{kind}")
        ]
        outputs = [json.loads(each["output"]) for each in states if each["kind"] == "Exited"]
        # A replaced task puts its parameters there; those of the next one overwrite them.
        found = [
            each["parameters"]
            for each in outputs
            if isinstance(each, dict) and "parameters" in each
        ]
        steps = {each["entered_at"]: each["Step"] for each in found if "Step" in each}
        ended = self._describe(execution)
        return Result(
            ended["status"],
            ended.get("error", ""),
            ended.get("cause", ""),
            json.loads(ended.get("output", "null")),
            ended["startDate"],
            [each["name"] for each in states if each["kind"] == "Entered"],
            [step["HadoopJarStep"]["Args"] for step in steps.values()],
        )

    def run(self, given: dict[str, Any], *rest: Any, **more: Any) -> Result:
        return self.follow(self.start(given, *rest, **more))

    def run_each(self, inputs: Iterable[dict[str, Any]]) -> list[Result]:
        """Runs executions in parallel; each mostly waits."""
        return [self.follow(execution) for execution in [self.start(each) for each in inputs]]

    def _describe(self, execution: str) -> Any:
        return self.client.describe_execution(executionArn=execution)


def make_role(iam: Any, bucket: str) -> str:
    """Makes a role that may look into a bucket and into one that is missing; returns its ARN."""
    name = f"list-{bucket}"
    trust = {"Action": "sts:AssumeRole", "Principal": {"Service": "states.amazonaws.com"}}
    arns = [f"arn:aws:s3:::{each}" for each in (bucket, MISSING, f"{MISSING}/*")]
    looking = {"Action": ["s3:GetObject", "s3:ListBucket"], "Resource": arns}
    trusted, policy = (
        json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each}]})
        for each in (trust, looking)
    )
    role: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="look", PolicyDocument=policy)
    return role


def _replacement(task: dict[str, Any], answer: object, fails: bool) -> dict[str, Any]:
    """Returns a state that has the task's result, or fails and is caught like the task."""
    if fails:
        missing = {"Bucket": MISSING, "Key": "none"}
        resource = "arn:aws:states:::aws-sdk:s3:getObject"
        return task | {"Resource": resource, "Parameters": missing, "Retry": []}
    kept = {"Type": "Pass", "Next": task["Next"]}
    if answer is not None:
        return kept | {"Result": answer, "ResultPath": task["ResultPath"]}
    # Identified by the time, because later states pass the same parameters on.
    parameters = task["Parameters"] | {"entered_at.$": "$$.State.EnteredTime"}
    return kept | {"Parameters": parameters, "ResultPath": "$.parameters"}


@pytest.fixture
def machine(aws_environment: LocalCloud) -> Machine:
    return Machine(aws_environment)


@pytest.mark.slow
def test_without_a_date_yesterday_and_today_are_processed(machine: Machine) -> None:
    days = {
        "2026-08-10T00:00:00Z": ("2026-08-09", "2026-08-10"),
        "2027-01-01T02:00:00Z": ("2026-12-31", "2027-01-01"),
        "2026-03-01T02:00:00Z": ("2026-02-28", "2026-03-01"),
        "2028-03-01T02:00:00Z": ("2028-02-29", "2028-03-01"),
        "2026-09-01T02:00:00Z": ("2026-08-31", "2026-09-01"),
        "2026-12-01T02:00:00Z": ("2026-11-30", "2026-12-01"),
    }
    machine.store("2026-07-04", *[day for pair in days.values() for day in pair])
    found = machine.run_each([{"scheduled_time": moment} for moment in days])
    for (moment, expected), ended in zip(days.items(), found, strict=True):
        assert ended.status == "SUCCEEDED", f"{moment}: {ended.cause}"
        assert ended.run_ids == [f"{day}-x2" for day in expected], moment
        assert len(ended.arguments) == 4 * len(expected), moment


def test_without_images_it_succeeds_without_a_cluster(machine: Machine) -> None:
    machine.store("2026-01-31", scale=3)
    lifecycles: tuple[Lifecycle, Lifecycle] = ("persistent", "transient")
    for lifecycle in lifecycles:
        ended = machine.run({"ingest_date": "2026-01-31"}, lifecycle)
        assert ended.status == "SUCCEEDED", ended.cause
        assert ended.entered[-1] == "NothingToDo"
        assert not ended.arguments
        assert not {"FindCluster", "CreateCluster", "Runs"} & set(ended.entered)


def test_a_run_without_pending_images_skips_inference(machine: Machine) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31"}, "transient", images_left=0)
    assert ended.status == "SUCCEEDED", ended.cause
    assert [each[1] for each in ended.arguments] == ["mass_split.py"]
    assert "TerminateCluster" in ended.entered


def test_the_run_id_follows_from_the_input(machine: Machine) -> None:
    machine.store("2026-01-31")
    machine.store("2026-01-31", scale=3)
    names: list[tuple[dict[str, Any], str]] = [
        ({"ingest_date": "2026-01-31"}, "2026-01-31-x2"),
        ({"ingest_date": "2026-01-31", "scale": 3}, "2026-01-31-x3"),
        ({"run_id": "2026-01-31-x3"}, "2026-01-31-x3"),
        ({"run_id": "2026-01-31-x3-again", "scale": 3}, "2026-01-31-x3-again"),
        ({"run_id": "2026-01-31-x2", "ingest_date": "2026-01-31"}, "2026-01-31-x2"),
    ]
    for (given, run_id), ended in zip(
        names, machine.run_each([given for given, _ in names]), strict=True
    ):
        assert ended.status == "SUCCEEDED", f"{given}: {ended.cause}"
        expected = [["spark-submit", f"{job}.py", "--run-id", run_id] for job in JOBS]
        assert [each[:4] for each in ended.arguments] == expected, given
        assert ended.arguments[0][6] == "--report"
        assert ended.arguments[0][7].startswith(f"s3://work/run_id={run_id}/reports/")
        assert ended.arguments[3][6:] == [
            "--report",
            ended.arguments[0][7].replace(".json", "-evaluate.json"),
        ]
        # All steps of an execution name one start, after its beginning.
        (start,) = {(each[4], each[5]) for each in ended.arguments}
        assert start == ("--start-id", start_id_of(run_id, ended.started_at))
        assert "TerminateCluster" not in ended.entered


def test_several_runs_may_be_named(machine: Machine) -> None:
    machine.store("2026-01-31", "2026-02-01")
    machine.store("2026-01-31", scale=3)
    named = ["2026-01-31-x3", "2026-02-01-x2", "2026-01-31-x4"]
    ended = machine.run({"run_ids": named})
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.run_ids == named[:2]
    assert [each["outcome"] for each in ended.output] == ["finished", "finished", "no images"]


def test_redo_is_passed_to_the_split(machine: Machine) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31", "redo": True})
    assert ended.arguments[0][-1] == "--redo"
    assert len(ended.arguments) == 4
    assert all("--redo" not in each for each in ended.arguments[1:])


def test_bad_input_fails_before_images_are_searched(machine: Machine) -> None:
    bad: list[dict[str, Any]] = [
        {"scale": 5},
        {"scale": "2"},
        {"redo": "yes"},
        {"ingest_date": "yesterday"},
        {"run_id": "mine"},
        {"run_id": "2026-01-31-x3", "scale": 2},
        {"run_id": "2026-01-31-x3", "ingest_date": "2026-01-30"},
        {"run_ids": []},
        {"run_ids": "2026-01-31-x3"},
        {"run_ids": ["2026-01-31-x3"], "scale": 3},
        {"run_ids": ["2026-01-31-x3"], "run_id": "2026-01-31-x3"},
        *({"run_id": each} for each in UNREADABLE),
        *({"run_ids": ["2026-01-31-x2", each]} for each in UNREADABLE),
    ]
    for given, ended in zip(bad, machine.run_each(bad), strict=True):
        assert (ended.status, ended.error) == ("FAILED", "SuperResolution.BadInput"), given
        assert "run_ids, a list of them" in ended.cause, given
        assert "FindImages" not in ended.entered


def test_a_vanished_cluster_fails_at_once_with_the_remedy(machine: Machine) -> None:
    machine.store("2026-01-31")
    day = {"ingest_date": "2026-01-31"}
    for state in ("TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS"):
        ended = machine.run(day, cluster_state=state)
        assert (ended.status, ended.error) == ("FAILED", "SuperResolution.ClusterGone")
        assert f'"State":"{state}"' in ended.cause
        assert "make deploy" in ended.cause
        assert not ended.arguments
    unknown = machine.run(day, failing=("FindCluster",))
    assert unknown.error == "SuperResolution.ClusterGone"


@pytest.mark.parametrize("step", ["Split", "Infer", "Reconstruct", "Evaluate"])
def test_a_failed_step_fails_the_execution_after_terminating_the_cluster(
    machine: Machine, step: str
) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31"}, "transient", (step,))
    assert (ended.status, ended.error) == ("FAILED", "SuperResolution.RunFailed")
    assert "NoSuchBucket" in ended.cause  # the error of the replaced task
    assert "2026-01-31-x2" in ended.cause
    assert ended.entered.index("TerminateCluster") > ended.entered.index("Failed")
    assert len(ended.arguments) == ["Split", "Infer", "Reconstruct", "Evaluate"].index(step)


def test_a_failed_run_does_not_prevent_the_next(machine: Machine) -> None:
    machine.store("2026-11-22", "2026-11-23")
    ended = machine.run({"scheduled_time": "2026-11-23T02:00:00Z"}, failing=("Evaluate",))
    assert ended.error == "SuperResolution.RunFailed"
    assert ended.run_ids == ["2026-11-22-x2", "2026-11-23-x2"]
    assert ended.entered.count("Failed") == 2


def test_a_transient_cluster_is_terminated_after_success(machine: Machine) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31"}, "transient")
    assert ended.status == "SUCCEEDED", ended.cause
    counts = {"images": 50, "rejected": 5}
    assert ended.output == [{"run_id": "2026-01-31-x2", "outcome": "finished", **counts}]
    assert "TerminateCluster" in ended.entered
    assert "FindCluster" not in ended.entered


def test_a_cluster_that_fails_to_start_or_terminate_has_its_own_error(machine: Machine) -> None:
    machine.store("2026-01-31")
    day = {"ingest_date": "2026-01-31"}
    assert machine.run(day, "transient", ("CreateCluster",)).error == "SuperResolution.NoCluster"
    ended = machine.run(day, "transient", ("TerminateCluster",))
    assert ended.error == "SuperResolution.ClusterLeft"
    assert "j-2" in ended.cause

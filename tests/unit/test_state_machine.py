"""The state machine: its shape, and what it decides when LocalStack's interpreter runs it."""

import json
import re
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest

from tests.support.http_server import until
from tests.support.localstack import REGION, LocalCloud
from tests.support.paths import ROOT
from tests.support.required_tools import require

INFRA = ROOT / "infra"
TEMPLATE = INFRA / "modules/orchestration/pipeline.asl.json"
VALIDATOR = INFRA / "tools/node_modules/.bin/asl-validator"
JOBS = ("mass_split", "batch_inference", "mass_reconstruct", "evaluate")
States = dict[str, dict[str, Any]]
Lifecycle = Literal["persistent", "transient"]


def rendered(lifecycle: Lifecycle = "persistent", raw_bucket: str = "raw") -> dict[str, Any]:
    """The definition as Terraform renders it, with values that suffice to look at it."""
    values = {
        "cluster_lifecycle": lifecycle,
        "cluster_id": "j-1" if lifecycle == "persistent" else "",
        "cluster": json.dumps({"Name": "test", "Instances": {}}),
        "default_scale": "2",
        "log_uri": "s3://logs/emr/",
        "raw_bucket": raw_bucket,
        "work_bucket": "work",
        "step_seconds": "600",
    } | {job: f"'spark-submit', '{job}.py'" for job in JOBS}
    text = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], TEMPLATE.read_text())
    definition: dict[str, Any] = json.loads(text)
    return definition


def machines(definition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The definition and those within its Map states: each has StartAt and States."""
    yield definition
    for state in definition["States"].values():
        if state["Type"] == "Map":
            yield from machines(state["ItemProcessor"])


def all_states(definition: dict[str, Any]) -> States:
    """Every state by its name; names are unique."""
    found = [item for machine in machines(definition) for item in machine["States"].items()]
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


def following(state: dict[str, Any]) -> set[str]:
    """The names of the states that may come next."""
    edges = [state.get("Next"), state.get("Default")]
    edges += [each["Next"] for key in ("Choices", "Catch") for each in state.get(key, [])]
    return {name for name in edges if name is not None}


def reachable(states: States, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = {start}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= following(states[name]) - seen
    return seen


def steps(definition: dict[str, Any]) -> States:
    return {
        name: state
        for name, state in all_states(definition).items()
        if state.get("Resource", "").endswith(":addStep.sync")
    }


# ---- shape


def test_every_state_leads_somewhere_and_is_reached() -> None:
    for machine in machines(rendered()):
        states = machine["States"]
        for name, state in states.items():
            ends = state.get("End") is True or state["Type"] in ("Succeed", "Fail")
            assert ends != ("Next" in state or "Choices" in state), f"{name} goes on, or ends"
            assert following(state) <= set(states), f"{name} leads to a state that is not there"
        assert reachable(states, machine["StartAt"]) == set(states)


def test_every_task_has_a_timeout_and_says_what_happens_when_it_fails() -> None:
    tasks = {k: v for k, v in all_states(rendered()).items() if v["Type"] == "Task"}
    assert len(tasks) == 10
    for name, task in tasks.items():
        assert 0 < task["TimeoutSeconds"] <= 604800, name
        for retry in task["Retry"]:
            assert not any(error.startswith("States.") for error in retry["ErrorEquals"]), name
            assert retry["BackoffRate"] > 1
            assert retry["JitterStrategy"] == "FULL"
            assert retry["MaxDelaySeconds"] > 0
        if name != "ListImages":  # its Map catches
            assert [each["ErrorEquals"] for each in task["Catch"]] == [["States.ALL"]], name
    for name in ("FindImages", "Runs"):
        assert all_states(rendered())[name]["Catch"][0]["ErrorEquals"] == ["States.ALL"]


def test_what_was_caught_is_kept() -> None:
    for name, state in all_states(rendered()).items():
        for each in state.get("Catch", []):
            assert re.fullmatch(r"\$(\.\w+)+", each["ResultPath"]), name


def test_steps_are_the_four_jobs_in_order() -> None:
    definition = rendered()
    found = steps(definition)
    order = ["Split", "Infer", "Reconstruct", "Evaluate"]
    for name, job in zip(order, JOBS, strict=True):
        step = found[name]["Parameters"]["Step"]
        assert step["Name"] == job
        assert step["HadoopJarStep"]["Jar"] == "command-runner.jar"
        assert f"'{job}.py', '--run-id', $.run.run_id" in step["HadoopJarStep"]["Args.$"]
        # A persistent cluster must outlive a failed step.
        assert step["ActionOnFailure"] == "CONTINUE"
        assert found[name]["TimeoutSeconds"] == 600
        assert [retry["ErrorEquals"] for retry in found[name]["Retry"]] == [
            ["EMR.AmazonElasticMapReduceException"]
        ]
    assert [found[name]["Next"] for name in order] == ["ReadReport", *order[2:], "Finished"]
    redo = found.pop("SplitAgain")
    assert redo["Parameters"]["Step"]["HadoopJarStep"]["Args.$"].endswith(", '--redo')")
    report = all_states(definition)["ReadReport"]["Parameters"]
    place = "'s3://work/run_id={}/reports/{}.json', $.run.run_id, $$.Execution.Name"
    assert report["Bucket"] == "work"
    assert report["Key.$"] == f"States.Format({place.replace('s3://work/', '')})"
    for split in (found["Split"], redo):
        arguments = split["Parameters"]["Step"]["HadoopJarStep"]["Args.$"]
        assert f"'--report', States.Format({place})" in arguments
    assert redo["Next"] == "ReadReport"
    assert set(found) == set(order)


def test_images_are_looked_for_before_a_cluster_is() -> None:
    states = rendered()["States"]
    before = reachable(states, "Begin") - reachable(states, "ChooseCluster")
    assert "FindImages" in before
    assert not any("elasticmapreduce" in str(states[name].get("Resource")) for name in before)


def test_a_cluster_that_was_made_is_terminated_however_the_runs_ended() -> None:
    states = rendered("transient")["States"]
    assert states["CreateCluster"]["Next"] == "Runs"
    # From the runs there is no way to an end but through the choice that terminates.
    assert following(states["Runs"]) == {"WhoseCluster"}
    assert states["WhoseCluster"]["Choices"] == [
        {
            "Variable": "$.cluster_lifecycle",
            "StringEquals": "transient",
            "Next": "TerminateCluster",
        }
    ]
    terminate = states["TerminateCluster"]
    assert terminate["Resource"].endswith(":elasticmapreduce:terminateCluster.sync")
    assert terminate["Parameters"] == {"ClusterId.$": "$.cluster.ClusterId"}


def test_failures_have_names_of_their_own() -> None:
    for state in all_states(rendered()).values():
        if state["Type"] == "Fail":
            assert state["Error"].startswith("SuperResolution.")
            assert "Cause" in state or "CausePath" in state


@pytest.mark.parametrize("lifecycle", ["persistent", "transient"])
def test_the_language_is_used_as_its_schema_says(lifecycle: Lifecycle, tmp_path: Path) -> None:
    require("asl-validator", "make infra-tools", found=VALIDATOR.exists())
    (tmp_path / "definition.json").write_text(json.dumps(rendered(lifecycle)))
    done = subprocess.run(
        [str(VALIDATOR), "--json-path", str(tmp_path / "definition.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---- what it decides


@dataclass(frozen=True)
class Ended:
    """How an execution ended, the states it entered, and the arguments of the steps it ran."""

    status: str
    error: str
    cause: str
    output: Any
    entered: list[str]
    arguments: list[list[str]]

    @property
    def run_ids(self) -> list[str]:
        """What was split, in order."""
        return [each[3] for each in self.arguments if each[1] == "mass_split.py"]


class Machine:
    """The definition in LocalStack, where EMR's tasks are replaced by what they would answer."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.bucket = f"raw-{uuid.uuid4().hex[:12]}"
        self.s3 = cloud.s3()
        self.s3.create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.client = boto3.client(
            "stepfunctions",
            endpoint_url=cloud.endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

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
        left: int = 1,
    ) -> str:
        """Starts an execution in which the tasks of ``failing`` fail."""
        definition = rendered(lifecycle, self.bucket)
        answers = {
            "FindCluster": {"ClusterId": "j-1", "State": cluster_state},
            "CreateCluster": {"ClusterId": "j-2"},
            "ReadReport": {"counted": {"job": "mass_split", "images": left}},
        }
        for machine in machines(definition):
            for name, state in machine["States"].items():
                if state["Type"] == "Task" and name != "ListImages":
                    machine["States"][name] = _stand_in(state, answers.get(name), name in failing)
        arn = self.client.create_state_machine(
            name=f"test-{uuid.uuid4().hex[:12]}",
            definition=json.dumps(definition),
            roleArn="arn:aws:iam::000000000000:role/test",
        )["stateMachineArn"]
        started = self.client.start_execution(stateMachineArn=arn, input=json.dumps(given))
        return started["executionArn"]

    def follow(self, execution: str) -> Ended:
        until(lambda: self._described(execution)["status"] != "RUNNING", seconds=120)
        pages = self.client.get_paginator("get_execution_history").paginate(executionArn=execution)
        events: list[Any] = [event for page in pages for event in page["events"]]
        states = [
            each[f"state{kind}EventDetails"] | {"kind": kind}
            for each in events
            for kind in ("Entered", "Exited")
            if each["type"].endswith(f"State{kind}")
        ]
        left = [json.loads(each["output"]) for each in states if each["kind"] == "Exited"]
        # A stand-in leaves what its task would have been asked; the next one's takes its place.
        asked = [each["asked"] for each in left if isinstance(each, dict) and "asked" in each]
        steps_asked = {each["asked_by"]: each["Step"] for each in asked if "Step" in each}
        told = self._described(execution)
        return Ended(
            told["status"],
            told.get("error", ""),
            told.get("cause", ""),
            json.loads(told.get("output", "null")),
            [each["name"] for each in states if each["kind"] == "Entered"],
            [step["HadoopJarStep"]["Args"] for step in steps_asked.values()],
        )

    def run(self, given: dict[str, Any], *rest: Any, **more: Any) -> Ended:
        return self.follow(self.start(given, *rest, **more))

    def run_each(self, inputs: Iterable[dict[str, Any]]) -> list[Ended]:
        """Executions side by side: each is mostly waiting."""
        return [self.follow(execution) for execution in [self.start(each) for each in inputs]]

    def _described(self, execution: str) -> Any:
        return self.client.describe_execution(executionArn=execution)


def _stand_in(task: dict[str, Any], answer: object, fails: bool) -> dict[str, Any]:
    """A state that answers as the task would, or fails and is caught as it would be."""
    if fails:
        missing = {"Bucket": "none-such-bucket", "Key": "none"}
        resource = "arn:aws:states:::aws-sdk:s3:getObject"
        return task | {"Resource": resource, "Parameters": missing, "Retry": []}
    kept = {"Type": "Pass", "Next": task["Next"]}
    if answer is not None:
        return kept | {"Result": answer, "ResultPath": task["ResultPath"]}
    # By the time that the state was entered, so that what later states pass on counts once.
    asked = task["Parameters"] | {"asked_by.$": "$$.State.EnteredTime"}
    return kept | {"Parameters": asked, "ResultPath": "$.asked"}


@pytest.fixture
def machine(aws_environment: LocalCloud) -> Machine:
    return Machine(aws_environment)


@pytest.mark.localstack
@pytest.mark.slow
def test_without_a_date_yesterday_and_today_are_run(machine: Machine) -> None:
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


@pytest.mark.localstack
def test_with_nothing_to_do_it_ends_well_without_a_cluster(machine: Machine) -> None:
    machine.store("2026-01-31", scale=3)
    lifecycles: tuple[Lifecycle, Lifecycle] = ("persistent", "transient")
    for lifecycle in lifecycles:
        ended = machine.run({"ingest_date": "2026-01-31"}, lifecycle)
        assert ended.status == "SUCCEEDED", ended.cause
        assert ended.entered[-1] == "NothingToDo"
        assert not ended.arguments
        assert not {"FindCluster", "CreateCluster", "Runs"} & set(ended.entered)


@pytest.mark.localstack
def test_a_run_whose_images_are_finished_asks_for_no_inference(machine: Machine) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31"}, "transient", left=0)
    assert ended.status == "SUCCEEDED", ended.cause
    assert [each[1] for each in ended.arguments] == ["mass_split.py"]
    assert "TerminateCluster" in ended.entered


@pytest.mark.localstack
def test_a_run_is_named_by_what_is_given(machine: Machine) -> None:
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
        assert ended.arguments[0][4] == "--report"
        assert ended.arguments[0][5].startswith(f"s3://work/run_id={run_id}/reports/")
        assert "TerminateCluster" not in ended.entered


@pytest.mark.localstack
def test_redo_is_told_to_the_split(machine: Machine) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31", "redo": True})
    assert ended.arguments[0][-1] == "--redo"
    assert len(ended.arguments) == 4
    assert all("--redo" not in each for each in ended.arguments[1:])


@pytest.mark.localstack
def test_bad_input_is_refused_before_anything_is_looked_for(machine: Machine) -> None:
    bad: list[dict[str, Any]] = [
        {"scale": 5},
        {"scale": "2"},
        {"redo": "yes"},
        {"ingest_date": "yesterday"},
        {"run_id": "mine"},
        {"run_id": "2026-01-31-x3", "scale": 2},
        {"run_id": "2026-01-31-x3", "ingest_date": "2026-01-30"},
    ]
    for given, ended in zip(bad, machine.run_each(bad), strict=True):
        assert (ended.status, ended.error) == ("FAILED", "SuperResolution.BadInput"), given
        assert "FindImages" not in ended.entered


@pytest.mark.localstack
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


@pytest.mark.localstack
@pytest.mark.parametrize("step", ["Split", "Infer", "Reconstruct", "Evaluate"])
def test_a_failed_step_fails_the_execution_after_the_cluster_was_terminated(
    machine: Machine, step: str
) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31"}, "transient", (step,))
    assert (ended.status, ended.error) == ("FAILED", "SuperResolution.RunFailed")
    assert "NoSuchBucket" in ended.cause  # what the stand-in failed with
    assert "2026-01-31-x2" in ended.cause
    assert ended.entered.index("TerminateCluster") > ended.entered.index("Failed")
    assert len(ended.arguments) == ["Split", "Infer", "Reconstruct", "Evaluate"].index(step)


@pytest.mark.localstack
def test_a_run_that_fails_does_not_keep_the_next_from_its_images(machine: Machine) -> None:
    machine.store("2026-11-22", "2026-11-23")
    ended = machine.run({"scheduled_time": "2026-11-23T02:00:00Z"}, failing=("Evaluate",))
    assert ended.error == "SuperResolution.RunFailed"
    assert ended.run_ids == ["2026-11-22-x2", "2026-11-23-x2"]
    assert ended.entered.count("Failed") == 2


@pytest.mark.localstack
def test_a_transient_cluster_is_terminated_after_success(machine: Machine) -> None:
    machine.store("2026-01-31")
    ended = machine.run({"ingest_date": "2026-01-31"}, "transient")
    assert ended.status == "SUCCEEDED", ended.cause
    assert ended.output == [{"run_id": "2026-01-31-x2", "outcome": "finished"}]
    assert "TerminateCluster" in ended.entered
    assert "FindCluster" not in ended.entered


@pytest.mark.localstack
def test_a_cluster_that_does_not_come_up_or_go_away_is_told(machine: Machine) -> None:
    machine.store("2026-01-31")
    day = {"ingest_date": "2026-01-31"}
    assert machine.run(day, "transient", ("CreateCluster",)).error == "SuperResolution.NoCluster"
    left = machine.run(day, "transient", ("TerminateCluster",))
    assert left.error == "SuperResolution.ClusterLeft"
    assert "j-2" in left.cause

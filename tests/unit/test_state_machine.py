"""The shape of the state machine: its transitions, timeouts, error handling and steps."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.required_tools import require
from tests.support.state_machine import JOBS, Lifecycle, machines, rendered

VALIDATOR = ROOT / "infra/tools/node_modules/.bin/asl-validator"
States = dict[str, dict[str, Any]]


def all_states(definition: dict[str, Any]) -> States:
    """Returns every state by its name; names are unique."""
    found = [item for machine in machines(definition) for item in machine["States"].items()]
    assert len({name for name, _ in found}) == len(found)
    return dict(found)


def next_states(state: dict[str, Any]) -> set[str]:
    """Returns the names of the states that may follow."""
    edges = [state.get("Next"), state.get("Default")]
    edges += [each["Next"] for key in ("Choices", "Catch") for each in state.get(key, [])]
    return {name for name in edges if name is not None}


def reachable(states: States, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = {start}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= next_states(states[name]) - seen
    return seen


def steps(definition: dict[str, Any]) -> States:
    return {
        name: state
        for name, state in all_states(definition).items()
        if state.get("Resource", "").endswith(":addStep.sync")
    }


def test_every_state_has_a_successor_or_ends_and_is_reachable() -> None:
    for machine in machines(rendered()):
        states = machine["States"]
        for name, state in states.items():
            ends = state.get("End") is True or state["Type"] in ("Succeed", "Fail")
            assert ends != ("Next" in state or "Choices" in state), f"{name} goes on, or ends"
            assert next_states(state) <= set(states), f"{name} leads to a missing state"
        assert reachable(states, machine["StartAt"]) == set(states)


def test_every_task_has_a_timeout_retries_and_a_catch() -> None:
    tasks = {k: v for k, v in all_states(rendered()).items() if v["Type"] == "Task"}
    assert len(tasks) == 11
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


def test_caught_errors_are_kept() -> None:
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
        named = f"'{job}.py', '--run-id', $.run.run_id, '--start-id', $.start_id"
        assert named in step["HadoopJarStep"]["Args.$"]
        # A persistent cluster must outlive a failed step.
        assert step["ActionOnFailure"] == "CONTINUE"
        assert found[name]["TimeoutSeconds"] == 600
        assert [retry["ErrorEquals"] for retry in found[name]["Retry"]] == [
            ["EMR.AmazonElasticMapReduceException"]
        ]
    assert [found[name]["Next"] for name in order] == ["ReadReport", *order[2:], "ReadCounts"]
    redo = found.pop("SplitAgain")
    assert redo["Parameters"]["Step"]["HadoopJarStep"]["Args.$"].endswith(", '--redo')")
    report = all_states(definition)["ReadReport"]["Parameters"]
    location = "'s3://work/run_id={}/reports/{}.json', $.run.run_id, $$.Execution.Name"
    assert report["Bucket"] == "work"
    assert report["Key.$"] == f"States.Format({location.replace('s3://work/', '')})"
    for split in (found["Split"], redo):
        arguments = split["Parameters"]["Step"]["HadoopJarStep"]["Args.$"]
        assert f"'--report', States.Format({location})" in arguments
    assert redo["Next"] == "ReadReport"
    counts = all_states(definition)["ReadCounts"]["Parameters"]["Key.$"]
    assert counts == report["Key.$"].replace("{}.json", "{}-evaluate.json")
    assert counts in found["Evaluate"]["Parameters"]["Step"]["HadoopJarStep"]["Args.$"].replace(
        "s3://work/", ""
    )
    assert set(found) == set(order)


def test_images_are_searched_before_a_cluster() -> None:
    states = rendered()["States"]
    before = reachable(states, "Begin") - reachable(states, "ChooseCluster")
    assert "FindImages" in before
    assert not any("elasticmapreduce" in str(states[name].get("Resource")) for name in before)


def test_a_created_cluster_is_terminated_however_the_runs_end() -> None:
    states = rendered("transient")["States"]
    assert states["CreateCluster"]["Next"] == "Runs"
    # The runs lead to an end only through the choice that terminates the cluster.
    assert next_states(states["Runs"]) == {"WhoseCluster"}
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


def test_failures_have_their_own_error_names() -> None:
    for state in all_states(rendered()).values():
        if state["Type"] == "Fail":
            assert state["Error"].startswith("SuperResolution.")
            assert "Cause" in state or "CausePath" in state


@pytest.mark.slow
@pytest.mark.parametrize("lifecycle", ["persistent", "transient"])
def test_the_definition_is_valid_amazon_states_language(
    lifecycle: Lifecycle, tmp_path: Path
) -> None:
    require("asl-validator", "make infra-tools", found=VALIDATOR.exists())
    (tmp_path / "definition.json").write_text(json.dumps(rendered(lifecycle)))
    done = subprocess.run(
        [str(VALIDATOR), "--json-path", str(tmp_path / "definition.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

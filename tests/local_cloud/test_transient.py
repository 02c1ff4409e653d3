"""A cluster for each execution: created, used and terminated, however the execution ends."""

from datetime import date
from pathlib import Path

import pytest

from superres.pipeline import storage
from tests.local_cloud.executions import (
    Day,
    Execution,
    cluster_of,
    eventually,
    state_of,
    steps_of,
    wait_for_first_step,
)
from tests.local_cloud.stack import Stack

_OVER = {"TERMINATED", "TERMINATED_WITH_ERRORS"}


@pytest.fixture(scope="module")
def abandoned(transient: Stack, tmp_path_factory: pytest.TempPathFactory) -> Execution:
    """A stopped execution, whose cluster must terminate by itself."""
    day = Day(transient, date(2026, 2, 14))
    day.take_in(tmp_path_factory.mktemp("abandoned"), "one")
    execution = day.start()
    wait_for_first_step(execution)
    transient.client("stepfunctions").stop_execution(executionArn=execution.arn)
    assert execution.ended()["status"] == "ABORTED"
    eventually(lambda: not day.processes(), "its processes end")
    return execution


def test_the_cluster_of_a_stopped_execution_ends_when_idle(
    transient: Stack, abandoned: Execution
) -> None:
    cluster = cluster_of(abandoned)
    assert cluster["Status"]["State"] in ("RUNNING", "WAITING")
    emr = transient.client("emr")
    policy = emr.get_auto_termination_policy(ClusterId=cluster["Id"])["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 3600}


def test_a_run_terminates_its_cluster(transient: Stack, tmp_path: Path) -> None:
    assert "cluster_id" not in transient.outputs
    day = Day(transient, date(2026, 2, 11))
    images = day.take_in(tmp_path, "one", "two")
    execution = day.start()
    ended = execution.ended()
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    assert day.finished() == set(images)
    cluster = cluster_of(execution)
    assert cluster["Status"]["State"] == "TERMINATED"
    steps = {step["Name"]: step["Status"]["State"] for step in steps_of(transient, cluster["Id"])}
    assert steps == dict.fromkeys(
        ("mass_split", "batch_inference", "mass_reconstruct", "evaluate"), "COMPLETED"
    )


def test_a_failed_step_terminates_its_cluster(transient: Stack, tmp_path: Path) -> None:
    day = Day(transient, date(2026, 2, 12))
    day.take_in(tmp_path, "one")
    uri = transient.outputs["config_uri"]
    good = storage.read_bytes(uri)
    storage.write_bytes(uri, b"processing: [")
    try:
        execution = day.start()
        ended = execution.ended()
    finally:
        storage.write_bytes(uri, good)
    assert (ended["status"], ended["error"]) == ("FAILED", "SuperResolution.RunFailed")
    assert cluster_of(execution)["Status"]["State"] == "TERMINATED"


def test_a_failed_bootstrap_action_fails_the_execution(transient: Stack, tmp_path: Path) -> None:
    day = Day(transient, date(2026, 2, 13))
    day.take_in(tmp_path, "one")
    artifacts = transient.outputs["buckets"]["artifacts"]
    (script,) = [
        file
        for file in storage.list_files(f"s3://{artifacts}/releases")
        if file.name.endswith("install_fsrcnn.sh")
    ]
    good = storage.read_bytes(script.uri)
    storage.write_bytes(script.uri, b"#!/bin/bash\necho this node is broken >&2\nexit 3\n")
    try:
        execution = day.start()
        ended = execution.ended()
    finally:
        storage.write_bytes(script.uri, good)
    assert (ended["status"], ended["error"]) == ("FAILED", "SuperResolution.NoCluster")
    status = cluster_of(execution)["Status"]
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"]["Code"] == "BOOTSTRAP_FAILURE"
    logs = f"{transient.outputs['log_uri'].rstrip('/')}/{cluster_of(execution)['Id']}/node"
    assert any(file.name.endswith("stderr.gz") for file in storage.list_files(logs))


def test_no_cluster_is_left(transient: Stack, abandoned: Execution) -> None:
    idle, emr = cluster_of(abandoned)["Id"], transient.client("emr")
    # Sooner than an hour; by now it has been idle for longer, unless this test runs alone.
    emr.put_auto_termination_policy(ClusterId=idle, AutoTerminationPolicy={"IdleTimeout": 60})
    eventually(lambda: state_of(transient, idle) == "TERMINATED", "the idle one ends", 180)
    eventually(
        lambda: {each["Status"]["State"] for each in emr.list_clusters()["Clusters"]} <= _OVER,
        "all clusters end",
    )

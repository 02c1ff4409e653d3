"""A cluster for each execution: made, used and terminated, however the execution ends."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from superres import storage
from tests.local_cloud.executions import (
    Day,
    Execution,
    clients_on,
    eventually,
    running_step,
    steps_of,
)
from tests.local_cloud.stack import Stack

_OVER = {"TERMINATED", "TERMINATED_WITH_ERRORS"}


@pytest.fixture(scope="module")
def transient(stack: Stack) -> Iterator[Stack]:
    """The stack, deployed once more with transient clusters: the persistent one is gone."""
    with stack.timed("deploy, transient"):
        deployed = stack.deployed(cluster_lifecycle="transient")
    with clients_on(deployed):
        yield deployed


def cluster_of(execution: Execution) -> dict[str, Any]:
    """The cluster that an execution made, as EMR tells it."""
    (found,) = clusters_of(execution)
    emr = execution.stack.client("emr")
    cluster: dict[str, Any] = emr.describe_cluster(ClusterId=found)["Cluster"]
    return cluster


def clusters_of(execution: Execution) -> list[str]:
    name = f"{execution.stack.outputs['name']}-{execution.arn.rsplit(':', 1)[1]}"
    listed = execution.stack.client("emr").list_clusters()["Clusters"]
    return [each["Id"] for each in listed if each["Name"] == name]


def test_a_run_takes_its_cluster_away(transient: Stack, tmp_path: Path) -> None:
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


def test_a_failed_step_takes_its_cluster_away(transient: Stack, tmp_path: Path) -> None:
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


def test_a_stopped_execution_leaves_a_cluster_that_ends_when_it_is_idle(
    transient: Stack, tmp_path: Path
) -> None:
    day = Day(transient, date(2026, 2, 14))
    day.take_in(tmp_path, "one")
    execution = day.start()
    eventually(lambda: bool(clusters_of(execution)), "a cluster is made")
    cluster = cluster_of(execution)["Id"]
    running_step(transient, cluster, "mass_split")
    transient.client("stepfunctions").stop_execution(executionArn=execution.arn)
    assert execution.ended()["status"] == "ABORTED"
    eventually(lambda: not day.processes(), "its processes end")
    # Nobody but the cluster itself is left to end it.
    emr = transient.client("emr")
    policy = emr.get_auto_termination_policy(ClusterId=cluster)["AutoTerminationPolicy"]
    assert policy == {"IdleTimeout": 3600}
    emr.put_auto_termination_policy(ClusterId=cluster, AutoTerminationPolicy={"IdleTimeout": 60})
    eventually(lambda: cluster_of(execution)["Status"]["State"] == "TERMINATED", "it ends", 180)


def test_no_cluster_lives_on(transient: Stack) -> None:
    emr = transient.client("emr")
    eventually(
        lambda: {each["Status"]["State"] for each in emr.list_clusters()["Clusters"]} <= _OVER,
        "all clusters end",
    )

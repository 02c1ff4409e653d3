"""Real clusters through boto3: bootstrap actions, steps on a real Spark, failures, logs."""

import gzip
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.localstack

BOOTSTRAP = b"""#!/usr/bin/env bash
set -euo pipefail
aws s3 cp --only-show-errors "$1" copied
mkdir -p "$TOOL_MNT/tool"
echo "$GREETING: $(cat copied)" | tee "$TOOL_MNT/tool/model"
"""
JOB = b"""import sys
from pyspark.sql import SparkSession

session = SparkSession.builder.appName("squares").getOrCreate()
assert session.sparkContext.master.startswith("spark://"), session.sparkContext.master
squares = session.range(10).selectExpr("id * id AS square")
squares.write.parquet(sys.argv[1] + "/squares")
total = session.read.parquet(sys.argv[1] + "/squares").agg({"square": "sum"}).first()[0]
print("executors", session.sparkContext.parallelize([1], 1).map(lambda x: sys.executable).first())
print("total", total)
"""
INSTANCES = {
    "KeepJobFlowAliveWhenNoSteps": True,
    "InstanceFleets": [
        {
            "Name": name,
            "InstanceFleetType": role,
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m6i.xlarge", "WeightedCapacity": 1}],
        }
        for name, role in (("primary", "MASTER"), ("core", "CORE"))
    ],
}


def command(name: str, *arguments: str, on_failure: str = "CONTINUE") -> dict[str, Any]:
    jar = {"Jar": "command-runner.jar", "Args": list(arguments)}
    return {"Name": name, "ActionOnFailure": on_failure, "HadoopJarStep": jar}


def bootstrap(uri: str, *arguments: str) -> list[dict[str, Any]]:
    return [{"Name": "it", "ScriptBootstrapAction": {"Path": uri, "Args": list(arguments)}}]


@pytest.fixture
def run(emr: Any, bucket: str) -> Callable[..., str]:
    """Requests a cluster."""

    def begin(**more: Any) -> str:
        asked = {
            "Name": "test",
            "ReleaseLabel": "emr-spark-8.1.0",
            "LogUri": f"s3://{bucket}/logs/",
            "JobFlowRole": "nodes",
            "ServiceRole": "service",
            "Instances": INSTANCES,
        }
        return str(emr.run_job_flow(**(asked | more))["JobFlowId"])

    return begin


def state(emr: Any, cluster: str) -> Any:
    return emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]


def step(emr: Any, cluster: str, identifier: str) -> Any:
    return emr.describe_step(ClusterId=cluster, StepId=identifier)["Step"]["Status"]


def log(s3: Any, bucket: str, key: str) -> str:
    body = s3.get_object(Bucket=bucket, Key=f"logs/{key}.gz")["Body"].read()
    return gzip.decompress(body).decode()


def seen(states: list[str], now: str) -> str:
    if now not in states[-1:]:
        states.append(now)
    return now


def until(check: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
    return answer


@pytest.mark.spark
def test_a_cluster_bootstraps_runs_spark_on_s3_and_ends(
    emr: Any, s3: Any, bucket: str, run: Callable[..., str], cloud: Any
) -> None:
    for name, content in (("boot.sh", BOOTSTRAP), ("job.py", JOB), ("weights", b"w1")):
        s3.put_object(Bucket=bucket, Key=name, Body=content)
    cluster = run(
        Applications=[{"Name": "Spark"}],
        BootstrapActions=bootstrap(f"s3://{bucket}/boot.sh", f"s3://{bucket}/weights"),
    )
    states: list[str] = []
    until(
        lambda: seen(states, state(emr, cluster)["State"]) in ("WAITING", "TERMINATED_WITH_ERRORS")
    )
    assert states[-1] == "WAITING", state(emr, cluster)
    assert set(states) <= {"STARTING", "BOOTSTRAPPING", "WAITING"}
    assert (cloud.folder / "mnt/tool/model").read_text() == "hello node: w1\n"

    arguments = ["spark-submit", "--deploy-mode", "cluster"]
    arguments += ["--conf", "spark.yarn.maxAppAttempts=1", "--conf", "spark.executor.memory=64g"]
    arguments += ["--conf", "spark.executor.instances=1", "--conf", "spark.executor.cores=1"]
    arguments += [f"s3://{bucket}/job.py", f"s3://{bucket}/out"]
    added = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[command("squares", *arguments)])
    identifier = added["StepIds"][0]
    steps: list[str] = []
    until(lambda: seen(steps, step(emr, cluster, identifier)["State"]) in ("COMPLETED", "FAILED"))
    key = f"{cluster}/steps/{identifier}"
    assert steps[-1] == "COMPLETED", log(s3, bucket, f"{key}/stderr")
    assert "RUNNING" in steps
    assert "total 285\n" in log(s3, bucket, f"{key}/stdout")
    submitted = r"spark-submit --properties-file \S+ --master spark://"
    assert re.search(submitted, log(s3, bucket, f"{key}/controller"))
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]]
    assert any(each.endswith(".parquet") for each in keys)

    emr.terminate_job_flows(JobFlowIds=[cluster])
    until(lambda: state(emr, cluster)["State"] == "TERMINATED")
    assert state(emr, cluster)["StateChangeReason"]["Code"] == "USER_REQUEST"
    assert processes_naming(cluster) == []
    with pytest.raises(ClientError, match="may not be modified"):
        emr.add_job_flow_steps(JobFlowId=cluster, Steps=[command("late", "true")])


def processes_naming(text: str) -> list[str]:
    """Returns processes whose environment or command line contains a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            output = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if text.encode() in output:
            found.append(output.decode(errors="replace")[-300:])
    return found


def test_a_failed_bootstrap_action_terminates_the_cluster(
    emr: Any, s3: Any, bucket: str, run: Callable[..., str]
) -> None:
    s3.put_object(Bucket=bucket, Key="bad.sh", Body=b"echo no room >&2; exit 7\n")
    cluster = run(BootstrapActions=bootstrap(f"s3://{bucket}/bad.sh"))
    ended = until(lambda: (s := state(emr, cluster))["State"].startswith("TERMINATED") and s)
    assert ended["State"] == "TERMINATED_WITH_ERRORS"
    reason = ended["StateChangeReason"]
    assert reason["Code"] == "BOOTSTRAP_FAILURE"
    assert "bootstrap action 1 returned a non-zero return code (no room)" in reason["Message"]
    where = reason["Message"].split(f"s3://{bucket}/logs/")[1].removesuffix(".gz")
    assert log(s3, bucket, where) == "no room\n"


def test_a_missing_bootstrap_script_terminates_the_cluster(
    emr: Any, bucket: str, run: Callable[..., str]
) -> None:
    cluster = run(BootstrapActions=bootstrap(f"s3://{bucket}/none.sh"))
    ended = until(lambda: (s := state(emr, cluster))["State"].startswith("TERMINATED") and s)
    assert "NoSuchKey" in ended["StateChangeReason"]["Message"]


def test_steps_fail_are_cancelled_and_run_concurrently(
    emr: Any, s3: Any, bucket: str, run: Callable[..., str]
) -> None:
    cluster = run()
    steps = [
        command("fails", "bash", "-c", "echo oops >&2; exit 3"),
        command("long", "bash", "-c", "setsid sleep 300 & sleep 300"),
        command("next", "true"),
    ]
    ids = emr.add_job_flow_steps(JobFlowId=cluster, Steps=steps)["StepIds"]
    until(lambda: step(emr, cluster, ids[1])["State"] == "RUNNING")
    failure = step(emr, cluster, ids[0])["FailureDetails"]
    assert failure["Message"] == "oops"
    assert failure["LogFile"] == f"s3://{bucket}/logs/{cluster}/steps/{ids[0]}/stderr.gz"
    assert step(emr, cluster, ids[2])["State"] == "PENDING"
    output = emr.cancel_steps(ClusterId=cluster, StepIds=ids)["CancelStepsInfoList"]
    assert [each["Status"] for each in output] == ["FAILED", "SUBMITTED", "SUBMITTED"]
    until(lambda: step(emr, cluster, ids[1])["State"] == "CANCELLED")
    assert step(emr, cluster, ids[2])["State"] == "CANCELLED"
    emr.modify_cluster(ClusterId=cluster, StepConcurrencyLevel=2)
    steps = [command("a", "sleep", "300"), command("b", "sleep", "300")]
    ids = emr.add_job_flow_steps(JobFlowId=cluster, Steps=steps)["StepIds"]
    until(lambda: {step(emr, cluster, each)["State"] for each in ids} == {"RUNNING"})
    emr.terminate_job_flows(JobFlowIds=[cluster])
    until(lambda: state(emr, cluster)["State"] == "TERMINATED")
    assert {step(emr, cluster, each)["State"] for each in ids} == {"CANCELLED"}
    assert processes_naming(cluster) == []


def test_a_transient_cluster_ends_with_its_steps(emr: Any, run: Callable[..., str]) -> None:
    cluster = run(
        Instances=INSTANCES | {"KeepJobFlowAliveWhenNoSteps": False}, Steps=[command("it", "true")]
    )
    ended = until(lambda: (s := state(emr, cluster))["State"].startswith("TERMINATED") and s)
    assert ended["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"


def test_a_failed_step_can_terminate_the_cluster(emr: Any, run: Callable[..., str]) -> None:
    steps = [command("fails", "false", on_failure="TERMINATE_CLUSTER"), command("never", "true")]
    cluster = run(Steps=steps)
    ended = until(lambda: (s := state(emr, cluster))["State"].startswith("TERMINATED") and s)
    assert (ended["State"], ended["StateChangeReason"]["Code"]) == (
        "TERMINATED_WITH_ERRORS",
        "STEP_FAILURE",
    )
    found = emr.list_steps(ClusterId=cluster)["Steps"]
    assert [each["Status"]["State"] for each in found] == ["CANCELLED", "FAILED"]


def test_no_process_outlives_a_killed_localstack(tmp_path: Path, start_another_cloud: Any) -> None:
    cloud = start_another_cloud(tmp_path)
    emr = cloud.client("emr")
    groups = [{"InstanceRole": "MASTER", "InstanceType": "m6i.xlarge", "InstanceCount": 1}]
    cluster = emr.run_job_flow(
        Name="test",
        ReleaseLabel="emr-spark-8.1.0",
        JobFlowRole="nodes",
        ServiceRole="service",
        Instances={"KeepJobFlowAliveWhenNoSteps": True, "InstanceGroups": groups},
        Steps=[command("long", "sleep", "300")],
    )["JobFlowId"]
    until(lambda: len(processes_naming(cluster)) == 2)  # the supervisor and the step
    cloud.process.kill()
    cloud.process.wait()
    until(lambda: processes_naming(cluster) == [], 20)

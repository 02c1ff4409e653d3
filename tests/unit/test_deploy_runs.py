"""Executions, steps and logs, against responses in AWS's own form."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY

from deploy import executions, logs, steps
from deploy.environments import Deployed, read_environment
from deploy.executions import Outcome, Request, follow, run_id_of, submit
from deploy.steps import (
    Step,
    follow_step,
    job_arguments,
    live_clusters,
    read_counts,
    report_uri,
    submit_step,
)
from superres.errors import ConfigError, PrerequisiteError
from tests.support.fake_aws import stubbed

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:superres-dev"
ARN = "arn:aws:states:eu-central-1:123456789012:execution:superres-dev"
LOGS = "s3://logs-bucket/emr/"
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SPLIT = ["spark-submit", "--conf", "a=b", "s3://artifacts/jobs/mass_split.py", "--config", "s3://c"]


def listed(*names: str, status: str = "SUCCEEDED") -> dict[str, object]:
    return {
        "executions": [
            {
                "executionArn": f"{ARN}:{name}",
                "stateMachineArn": MACHINE,
                "name": name,
                "status": status,
                "startDate": NOON,
                **({"stopDate": NOON + timedelta(minutes=9)} if status != "RUNNING" else {}),
            }
            for name in names
        ]
    }


def described(name: str, content: dict[str, object], status: str = "RUNNING", **more: str):
    return {
        "executionArn": f"{ARN}:{name}",
        "stateMachineArn": MACHINE,
        "name": name,
        "status": status,
        "startDate": NOON,
        "input": json.dumps(content),
        **more,
    }


RUNNING = {"stateMachineArn": MACHINE, "statusFilter": "RUNNING"}
ALL = {"stateMachineArn": MACHINE}


# ---- starting


def test_an_execution_is_named_by_run_and_number():
    stepfunctions, stub = stubbed("stepfunctions")
    stub.add_response("list_executions", listed(), RUNNING)
    past = listed("2026-01-31-x2-1", "2026-01-31-x2-9", "2026-01-31-x2-again-11", "f00d")
    stub.add_response("list_executions", past, ALL)
    stub.add_response(
        "start_execution",
        {"executionArn": f"{ARN}:2026-01-31-x2-10", "startDate": NOON},
        {
            "stateMachineArn": MACHINE,
            "name": "2026-01-31-x2-10",
            "input": '{"ingest_date": "2026-01-31", "redo": true}',
        },
    )
    started = submit(stepfunctions, MACHINE, Request(ingest_date="2026-01-31", redo=True), 2)
    assert started == executions.Execution(f"{ARN}:2026-01-31-x2-10", "2026-01-31-x2-10")


@pytest.mark.parametrize(
    ("running", "request_", "same"),
    [
        ({"run_id": "2026-01-31-x2"}, Request(ingest_date="2026-01-31"), True),
        ({"ingest_date": "2026-01-31", "scale": 2}, Request(run_id="2026-01-31-x2"), True),
        ({"scheduled_time": "2026-01-31T02:00:00Z"}, Request(), True),
        ({"scheduled_time": "2026-01-31T02:00:00Z"}, Request(scale=4), False),
        ({"ingest_date": "2026-01-30"}, Request(ingest_date="2026-01-31"), False),
    ],
)
def test_the_same_run_is_found_however_it_was_started(running, request_, same):
    stepfunctions, stub = stubbed("stepfunctions")
    stub.add_response("list_executions", listed("by-schedule", status="RUNNING"), RUNNING)
    stub.add_response("describe_execution", described("by-schedule", running))
    if not same:
        stub.add_response("list_executions", listed(), ALL)
        stub.add_response("start_execution", {"executionArn": f"{ARN}:x", "startDate": NOON})
    execution = submit(stepfunctions, MACHINE, request_, 2)
    assert execution.already_running is same
    stub.assert_no_pending_responses()


def test_a_name_that_was_just_taken_leads_to_the_next_number():
    stepfunctions, stub = stubbed("stepfunctions")
    stub.add_response("list_executions", listed(), RUNNING)
    stub.add_response("list_executions", listed(), ALL)
    stub.add_client_error("start_execution", "ExecutionAlreadyExists")
    stub.add_response("start_execution", {"executionArn": f"{ARN}:y", "startDate": NOON})
    assert submit(stepfunctions, MACHINE, Request(run_id="2026-01-31-x2-v1.5"), 2).name == (
        "2026-01-31-x2-v1_5-2"
    )


def test_runs_are_named_as_the_state_machine_names_them():
    assert run_id_of({"ingest_date": "2026-01-31"}, 3) == "2026-01-31-x3"
    assert run_id_of({"ingest_date": "2026-01-31", "scale": 4}, 3) == "2026-01-31-x4"
    assert run_id_of({}, 3) == "recent-x3"
    assert run_id_of({"run_ids": ["2026-01-31-x2", "2026-02-01-x2"]}, 3) == (
        "2026-01-31-x2 2026-02-01-x2"
    )


# ---- following


def event(number: int, kind: str, previous: int, **details: object) -> dict[str, object]:
    found = {"id": number, "type": kind, "previousEventId": previous, "timestamp": NOON}
    if details:
        found[f"{kind[0].lower()}{kind[1:]}EventDetails"] = details
    return found


def add_step(number: int, previous: int, name: str, step: str) -> list[dict[str, object]]:
    """The events of one addStep.sync that was submitted."""
    arguments = [*SPLIT, "--run-id", "2026-01-31-x2"]
    parameters = {
        "ClusterId": "j-1",
        "Step": {"Name": name, "HadoopJarStep": {"Jar": "command-runner.jar", "Args": arguments}},
    }
    resource = {"resourceType": "elasticmapreduce", "resource": "addStep.sync"}
    return [
        event(number, "TaskStateEntered", previous),
        event(
            number + 1,
            "TaskScheduled",
            number,
            **resource,
            region="eu-central-1",
            parameters=json.dumps(parameters),
        ),
        event(number + 2, "TaskStarted", number + 1, **resource),
        event(
            number + 3,
            "TaskSubmitted",
            number + 2,
            **resource,
            output=json.dumps({"StepId": step}),
        ),
    ]


def step_answer(step: str, state: str, **status: object) -> dict[str, object]:
    timeline = {"StartDateTime": NOON, "EndDateTime": NOON + timedelta(seconds=95)}
    return {"Step": {"Id": step, "Status": {"State": state, "Timeline": timeline, **status}}}


FAILURE = {"Reason": "Unknown Error.", "LogFile": "s3://…", "Message": "exit code 1"}


def test_an_execution_is_followed_step_by_step_to_its_failure():
    stepfunctions, history = stubbed("stepfunctions")
    emr, cluster = stubbed("emr")
    first = [event(1, "ExecutionStarted", 0), *add_step(2, 1, "mass_split", "s-1")]
    second = [event(6, "TaskSucceeded", 5), *add_step(7, 6, "batch_inference", "s-2")]
    asked = {"executionArn": f"{ARN}:n", "reverseOrder": True}

    history.add_response("describe_execution", described("n", {}))
    history.add_response("get_execution_history", {"events": first[::-1]}, asked)
    cluster.add_response("describe_step", step_answer("s-1", "PENDING"))
    history.add_response("describe_execution", described("n", {}))
    history.add_response("get_execution_history", {"events": first[::-1]}, asked)
    cluster.add_response("describe_step", step_answer("s-1", "RUNNING"))
    history.add_response(
        "describe_execution",
        described("n", {}, "FAILED", error="SuperResolution.RunFailed", cause='{\n  "a": 1 }'),
    )
    # Newest first, over two pages; events read before are not read again.
    history.add_response(
        "get_execution_history", {"events": second[::-1], "nextToken": "more"}, asked
    )
    history.add_response(
        "get_execution_history", {"events": first[::-1]}, asked | {"nextToken": "more"}
    )
    cluster.add_response("describe_step", step_answer("s-1", "COMPLETED"))
    cluster.add_response("describe_step", step_answer("s-2", "FAILED", FailureDetails=FAILURE))

    lines: list[str] = []
    pauses: list[float] = []
    outcome = follow(stepfunctions, emr, f"{ARN}:n", LOGS, lines.append, pauses.append)
    log = "s3://logs-bucket/emr/j-1/steps"
    assert lines == [
        "2026-01-31-x2 mass_split: pending (s-1)",
        f"2026-01-31-x2 mass_split: running (s-1); log {log}/s-1/stderr.gz",
        f"2026-01-31-x2 mass_split: completed after 95 s (s-1); log {log}/s-1/stderr.gz",
        "2026-01-31-x2 batch_inference: failed after 95 s: Unknown Error. exit code 1 (s-2); "
        f"log {log}/s-2/stderr.gz",
    ]
    assert not outcome.succeeded
    assert (outcome.error, outcome.cause) == ("SuperResolution.RunFailed", '{ "a": 1 }')
    assert len(pauses) == 2
    history.assert_no_pending_responses()
    cluster.assert_no_pending_responses()


def test_a_transient_cluster_is_reported():
    stepfunctions, history = stubbed("stepfunctions")
    resource = {"resourceType": "elasticmapreduce", "resource": "createCluster.sync"}
    events = [
        event(1, "TaskScheduled", 0, **resource, region="r", parameters="{}"),
        event(2, "TaskStarted", 1, **resource),
        event(3, "TaskSubmitted", 2, **resource, output='{"ClusterId": "j-7"}'),
        event(4, "TaskFailed", 3, **resource, error="States.TaskFailed", cause="no\n room"),
    ]
    history.add_response("describe_execution", described("n", {}, "FAILED"))
    history.add_response("get_execution_history", {"events": events[::-1]})
    lines: list[str] = []
    follow(stepfunctions, stubbed("emr")[0], f"{ARN}:n", LOGS, lines.append)
    assert lines == [
        "a cluster is being created, which takes about ten minutes",
        "cluster j-7 is starting",
        "a cluster: States.TaskFailed: no room",
    ]


def test_calls_to_other_services_in_the_history_are_ignored():
    stepfunctions, history = stubbed("stepfunctions")
    listing = {"resourceType": "aws-sdk:s3", "resource": "listObjectsV2"}
    events = [event(1, "TaskScheduled", 0, **listing, region="r", parameters="{}")]
    history.add_response("describe_execution", described("n", {}, "SUCCEEDED", output="[]"))
    history.add_response("get_execution_history", {"events": events})
    lines: list[str] = []
    assert follow(stepfunctions, stubbed("emr")[0], f"{ARN}:n", LOGS, lines.append).succeeded
    assert lines == []


@pytest.mark.parametrize(
    ("output", "lines"),
    [
        ('{"any": false}', ["there is no image to process"]),
        (
            '[{"run_id": "2026-01-30-x2", "outcome": "no images"},'
            ' {"run_id": "2026-01-31-x2", "outcome": "finished", "images": 50, "rejected": 5}]',
            [
                "2026-01-30-x2: no images",
                "2026-01-31-x2: finished 50 images, 5 rejected",
            ],
        ),
    ],
)
def test_the_outcome_of_each_run_is_reported(output, lines):
    assert Outcome("SUCCEEDED", output=output).runs == lines


def test_the_latest_executions_are_listed():
    stepfunctions, stub = stubbed("stepfunctions")
    stub.add_response("list_executions", listed("a-1"), ALL | {"maxResults": 10})
    assert executions.latest_executions(stepfunctions, MACHINE) == [
        executions.PastExecution("a-1", "succeeded", "2026-01-31 12:00", "9 min 00 s")
    ]


# ---- a step by hand


@pytest.fixture
def deployed() -> Deployed:
    outputs = {"steps": {"mass_split": SPLIT, "evaluate": []}, "cluster_id": "j-1"}
    return Deployed(read_environment("dev"), outputs)


def cluster_answer(state: str) -> dict[str, object]:
    return {"Cluster": {"Id": "j-1", "Name": "superres-dev", "Status": {"State": state}}}


def test_a_step_has_the_same_arguments_as_in_the_state_machine(deployed):
    emr, stub = stubbed("emr")
    stub.add_response("describe_cluster", cluster_answer("WAITING"), {"ClusterId": "j-1"})
    stub.add_response(
        "add_job_flow_steps",
        {"StepIds": ["s-5"]},
        {
            "JobFlowId": "j-1",
            "Steps": [
                {
                    "Name": "mass_split",
                    "ActionOnFailure": "CONTINUE",
                    "HadoopJarStep": {
                        "Jar": "command-runner.jar",
                        "Args": [*SPLIT, "--run-id", "2026-01-31-x2", "--redo"],
                    },
                }
            ],
        },
    )
    arguments = job_arguments("2026-01-31-x2", None, None, redo=True)
    assert submit_step(emr, deployed, "mass_split", arguments, None) == Step("j-1", "s-5")


def test_an_unknown_job_and_an_unusable_cluster_are_errors(deployed):
    emr, stub = stubbed("emr")
    with pytest.raises(ConfigError, match="JOB=split: no such job; there are evaluate, mass_split"):
        submit_step(emr, deployed, "split", [], None)
    stub.add_response("describe_cluster", cluster_answer("TERMINATED"), {"ClusterId": "j-9"})
    with pytest.raises(PrerequisiteError, match="cluster j-9 is terminated and accepts no steps"):
        submit_step(emr, deployed, "mass_split", [], "j-9")
    transient = Deployed(deployed.environment, deployed.outputs | {"cluster_id": None})
    with pytest.raises(ConfigError, match="CLUSTER is missing"):
        submit_step(emr, transient, "mass_split", [], None)


def test_the_counts_of_a_job_are_read_from_its_report(deployed):
    uri = report_uri(
        Deployed(deployed.environment, {"buckets": {"work": "work"}}),
        "fused",
        "2026-01-31-x2",
        NOON,
    )
    key = "run_id=2026-01-31-x2/reports/fused-20260131T120000Z.json"
    assert uri == f"s3://work/{key}"
    s3, stub = stubbed("s3")
    line = {"job": "fused", "run_id": "2026-01-31-x2", "images": 50, "rejected": 5, "seconds": 1.5}
    answer = {"Body": BytesIO(json.dumps(line).encode())}
    stub.add_response("get_object", answer, {"Bucket": "work", "Key": key})
    assert read_counts(s3, uri) == "50 images, 5 rejected"
    stub.add_client_error("get_object", "AccessDenied")
    assert read_counts(s3, uri) == ""


def test_a_step_is_followed_to_its_end():
    emr, stub = stubbed("emr")
    for state in ("PENDING", "PENDING", "RUNNING", "COMPLETED"):
        stub.add_response("describe_step", step_answer("s-5", state))
    lines: list[str] = []
    pauses: list[float] = []
    status = follow_step(emr, Step("j-1", "s-5"), "split", LOGS, lines.append, pauses.append)
    assert status.state == "COMPLETED"
    assert pauses == [steps.POLL_SECONDS] * 3
    assert [line.split(";")[0] for line in lines] == [
        "split: pending",
        "split: running",
        "split: completed after 95 s",
    ]


def test_the_jobs_accept_the_job_arguments():
    from jobs.job import _parser

    given = job_arguments("mine", 3, "2026-01-31", "mine-20260201T020000Z", redo=True)
    parsed = _parser("mass_split", takes_redo=True).parse_args(["--config", "c", *given])
    assert (parsed.run_id, parsed.scale, str(parsed.ingest_date)) == ("mine", 3, "2026-01-31")
    assert (parsed.start_id, parsed.redo) == ("mine-20260201T020000Z", True)


def test_clusters_of_other_environments_are_left_alone():
    emr, stub = stubbed("emr")
    names = ("superres-dev", "superres-dev-recent-3", "superres-dev2", "other-superres-dev")
    clusters = [
        {"Id": f"j-{number}", "Name": name, "Status": {"State": "WAITING"}}
        for number, name in enumerate(names)
    ]
    stub.add_response("list_clusters", {"Clusters": clusters}, {"ClusterStates": ANY})
    assert [name for _, name, _ in live_clusters(emr, "superres-dev")] == list(names[:2])


# ---- logs


def zipped(text: str) -> dict[str, object]:
    content = gzip.compress(text.encode())
    return {"Body": StreamingBody(BytesIO(content), len(content))}


def test_the_log_of_a_step_is_that_of_its_driver():
    s3, stub = stubbed("s3")
    stub.add_response(
        "get_object",
        zipped("… Submitted application application_1_0042 …"),
        {"Bucket": "logs-bucket", "Key": "emr/j-1/steps/s-1/stderr.gz"},
    )
    base = "emr/j-1/containers/application_1_0042/"
    keys = [f"{base}container_1_0042_01_000001/stderr.gz", f"{base}container_1_0042_01_000002/x.gz"]
    stub.add_response(
        "list_objects_v2",
        {"Contents": [{"Key": key} for key in keys]},
        {"Bucket": "logs-bucket", "Prefix": base},
    )
    many = "\n".join(f"line {number}" for number in range(100))
    stub.add_response("get_object", zipped(many), {"Bucket": "logs-bucket", "Key": keys[0]})
    shown = list(logs.step_log(s3, Step("j-1", "s-1"), LOGS))
    assert shown[0] == f"s3://logs-bucket/{keys[0]}"
    assert (shown[1], shown[-1], len(shown)) == ("  line 60", "  line 99", 41)


def test_a_missing_log_is_reported():
    s3, stub = stubbed("s3")
    stub.add_client_error("get_object", "NoSuchKey")
    (line,) = logs.step_log(s3, Step("j-1", "s-1"), LOGS)
    assert "not there yet" in line


def test_the_logs_of_failed_steps_are_shown():
    stepfunctions, history = stubbed("stepfunctions")
    emr, cluster = stubbed("emr")
    s3, objects = stubbed("s3")
    events = [*add_step(1, 0, "mass_split", "s-1"), *add_step(5, 4, "batch_inference", "s-2")]
    history.add_response("get_execution_history", {"events": events[::-1]})
    cluster.add_response("describe_step", step_answer("s-1", "FAILED", FailureDetails=FAILURE))
    cluster.add_response("describe_step", step_answer("s-2", "CANCELLED"))
    wanted = {"Bucket": "logs-bucket", "Key": "emr/j-1/steps/s-1/stderr.gz"}
    objects.add_response("get_object", zipped("Spark: it ends"), wanted)
    wanted = wanted | {"Key": "emr/j-1/steps/s-1/stdout.gz"}
    objects.add_response("get_object", zipped("mass_split: it broke"), wanted)
    lines: list[str] = []
    logs.show_execution(stepfunctions, emr, s3, f"{ARN}:n", LOGS, lines.append)
    assert lines[2] == "---- 2026-01-31-x2 mass_split"
    assert lines[-1] == "  mass_split: it broke"
    assert not any("s-2/stderr" in line for line in lines)


def test_an_execution_is_found_by_name_or_is_the_latest():
    stepfunctions, stub = stubbed("stepfunctions")
    for _ in range(3):
        stub.add_response("list_executions", listed("new-2", "old-1"))
    assert logs.find_execution(stepfunctions, MACHINE, None).endswith(":new-2")
    assert logs.find_execution(stepfunctions, MACHINE, "old-1").endswith(":old-1")
    with pytest.raises(ConfigError, match="EXECUTION=gone: no such execution"):
        logs.find_execution(stepfunctions, MACHINE, "gone")
    stub.add_response("list_executions", listed())
    with pytest.raises(ConfigError, match="nothing has run yet; start something with make submit"):
        logs.find_execution(stepfunctions, MACHINE, None)

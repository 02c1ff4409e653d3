"""State machines that use EMR: waiting, error names, and cancellation of steps and clusters."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.localstack

CLUSTER: dict[str, Any] = {
    "Name": "test",
    "ReleaseLabel": "emr-spark-8.1.0",
    "JobFlowRole": "nodes",
    "ServiceRole": "service",
    "Instances": {
        "KeepJobFlowAliveWhenNoSteps": True,
        "InstanceGroups": [
            {"InstanceRole": "MASTER", "InstanceType": "m6i.xlarge", "InstanceCount": 1}
        ],
    },
}
Execution = dict[str, Any]


def until(check: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return answer


def task(action: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    resource = f"arn:aws:states:::elasticmapreduce:{action}"
    return {"Type": "Task", "Resource": resource, "Parameters": parameters} | more


def add(*arguments: str, cluster: str = "$.cluster") -> dict[str, Any]:
    jar = {"Jar": "command-runner.jar", "Args": list(arguments)}
    step = {"Name": "step", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
    return {"ClusterId.$": cluster, "Step": step}


@pytest.fixture(scope="session")
def states(cloud: Any) -> Any:
    return cloud.client("stepfunctions")


@pytest.fixture(scope="session")
def cluster(emr: Any) -> str:
    """A cluster for all tests of this file."""
    return str(emr.run_job_flow(**CLUSTER)["JobFlowId"])


@pytest.fixture
def machine(states: Any) -> Callable[..., str]:
    """Creates a state machine that starts with the first of the states."""

    def make(**given: dict[str, Any]) -> str:
        answer = states.create_state_machine(
            name=f"test-{uuid.uuid4().hex[:8]}",
            roleArn="arn:aws:iam::000000000000:role/test",
            definition=json.dumps({"StartAt": next(iter(given)), "States": given}),
        )
        return str(answer["stateMachineArn"])

    return make


@pytest.fixture
def start(states: Any) -> Callable[..., Execution]:
    """Starts an execution and returns how it ended, or its ARN at once."""

    def run(arn: str, wait: bool = True, **given: Any) -> Execution:
        begun = states.start_execution(stateMachineArn=arn, input=json.dumps(given))
        arn = begun["executionArn"]
        if not wait:
            return {"executionArn": arn}
        until(lambda: states.describe_execution(executionArn=arn)["status"] != "RUNNING")
        answer: Execution = states.describe_execution(executionArn=arn)
        return answer

    return run


def test_an_execution_sends_its_status_to_eventbridge(
    cloud: Any, states: Any, machine: Callable[..., str]
) -> None:
    def received() -> bool:
        answer = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
        details.extend(json.loads(each["Body"])["detail"] for each in answer.get("Messages", []))
        return len(details) == 2

    details: list[dict[str, Any]] = []
    events, sqs = cloud.client("events"), cloud.client("sqs")
    arn = machine(All={"Type": "Succeed"})
    name = arn.rsplit(":", 1)[1]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [arn]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}
    events.put_targets(Rule=name, Targets=[target])
    execution = states.start_execution(stateMachineArn=arn)["executionArn"]
    until(received)
    known = states.describe_execution(executionArn=execution)
    begun, ended = (known[key].timestamp() * 1000 for key in ("startDate", "stopDate"))
    first, last = sorted(details, key=lambda each: str(each["status"]))
    assert (first["status"], first["stopDate"], first["input"]) == ("RUNNING", None, "{}")
    assert (last["status"], last["input"], last["output"]) == ("SUCCEEDED", "{}", "{}")
    assert [type(first["startDate"]), type(last["stopDate"])] == [int, int]
    assert first["startDate"] == last["startDate"] == pytest.approx(begun, abs=1)
    assert last["stopDate"] == pytest.approx(ended, abs=1)


def newest(emr: Any, cluster: str) -> Any:
    steps = emr.list_steps(ClusterId=cluster)["Steps"]
    return steps[0] if steps else {"Status": {"State": "NONE"}}


def test_a_cluster_is_created_used_and_terminated(
    emr: Any, machine: Callable[..., str], start: Callable[..., Execution]
) -> None:
    arn = machine(
        Create=task("createCluster.sync", CLUSTER, ResultPath="$.made", Next="Good"),
        Good=task(
            "addStep.sync", add("true", cluster="$.made.ClusterId"), ResultPath="$.good", Next="Bad"
        ),
        Bad=task(
            "addStep.sync",
            add("bash", "-c", "echo oops >&2; false", cluster="$.made.ClusterId"),
            Catch=[
                {"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.error", "Next": "Terminate"}
            ],
            Next="Terminate",
        ),
        Terminate=task(
            "terminateCluster.sync",
            {"ClusterId.$": "$.made.ClusterId"},
            ResultPath="$.end",
            End=True,
        ),
    )
    ended = start(arn)
    assert ended["status"] == "SUCCEEDED", ended
    output = json.loads(ended["output"])
    assert output["made"]["Cluster"]["Status"]["State"] == "WAITING"
    assert output["good"]["Step"]["Status"]["State"] == "COMPLETED"
    cause = json.loads(output["error"]["Cause"])
    assert cause["Status"]["FailureDetails"]["Message"] == "oops"
    assert output["end"]["Cluster"]["Status"]["State"] == "TERMINATED"
    steps = emr.list_steps(ClusterId=output["made"]["ClusterId"])["Steps"]
    assert [each["Status"]["State"] for each in steps] == ["FAILED", "COMPLETED"]


def test_a_cluster_that_cannot_start_fails_the_task(
    machine: Callable[..., str], start: Callable[..., Execution]
) -> None:
    action = {"Name": "it", "ScriptBootstrapAction": {"Path": "s3://none/none.sh"}}
    ended = start(
        machine(
            Create=task("createCluster.sync", CLUSTER | {"BootstrapActions": [action]}, End=True)
        )
    )
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    reason = json.loads(ended["cause"])["Status"]["StateChangeReason"]
    assert reason["Code"] == "BOOTSTRAP_FAILURE"


def test_plain_forms_do_not_wait_and_a_step_can_be_cancelled(
    emr: Any, cluster: str, machine: Callable[..., str], start: Callable[..., Execution]
) -> None:
    arn = machine(
        Add=task("addStep", add("sleep", "300"), ResultPath="$.step", Next="Cancel"),
        Cancel=task(
            "cancelStep",
            {"ClusterId.$": "$.cluster", "StepId.$": "$.step.StepId"},
            End=True,
        ),
    )
    ended = start(arn, cluster=cluster)
    assert json.loads(ended["output"])["CancelStepsInfo"]["Status"] == "SUBMITTED"
    until(lambda: newest(emr, cluster)["Status"]["State"] == "CANCELLED")


@pytest.mark.parametrize(
    ("action", "parameters", "error", "message"),
    [
        (
            "addStep.sync",
            {"ClusterId": "j-NONE", "Step": add("true")["Step"]},
            "EMR.AmazonElasticMapReduceException",
            "Specified job flow ID does not exist. (Service: AmazonElasticMapReduce; "
            "Status Code: 400; Error Code: ValidationException",
        ),
        (
            "cancelStep",
            {"ClusterId": "j-NONE", "StepId": "s-NONE"},
            "EMR.InvalidRequestException",
            "Cluster id 'j-NONE' is not valid.",
        ),
        (
            "createCluster",
            CLUSTER | {"ReleaseLabel": "emr-99.0.0"},
            "EMR.AmazonElasticMapReduceException",
            "The supplied release label is invalid: emr-99.0.0.",
        ),
        ("terminateCluster", {}, "States.Runtime", "lacks ClusterId"),
    ],
)
def test_errors_have_the_names_of_the_service(
    machine: Callable[..., str],
    start: Callable[..., Execution],
    action: str,
    parameters: dict[str, Any],
    error: str,
    message: str,
) -> None:
    ended = start(machine(Do=task(action, parameters, End=True)))
    assert (ended["status"], ended["error"]) == ("FAILED", error)
    assert message in ended["cause"]


def test_stopping_an_execution_cancels_its_step(
    emr: Any,
    states: Any,
    cluster: str,
    machine: Callable[..., str],
    start: Callable[..., Execution],
) -> None:
    begun = start(
        machine(Add=task("addStep.sync", add("sleep", "300"), End=True)),
        wait=False,
        cluster=cluster,
    )
    until(lambda: newest(emr, cluster)["Status"]["State"] == "RUNNING")
    states.stop_execution(executionArn=begun["executionArn"])
    until(lambda: newest(emr, cluster)["Status"]["State"] == "CANCELLED")


def test_an_execution_stopped_within_a_map_is_aborted(
    emr: Any,
    states: Any,
    cluster: str,
    machine: Callable[..., str],
    start: Callable[..., Execution],
) -> None:
    within = task("addStep.sync", add("sleep", "300"), End=True)
    arn = machine(
        All={
            "Type": "Map",
            "ItemsPath": "$.items",
            "ItemSelector": {"cluster.$": "$.cluster"},
            "ItemProcessor": {"StartAt": "Add", "States": {"Add": within}},
            "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}],
            "End": True,
        },
        Caught={"Type": "Fail"},
    )
    begun = start(arn, wait=False, cluster=cluster, items=[1])["executionArn"]
    until(lambda: newest(emr, cluster)["Status"]["State"] == "RUNNING")
    states.stop_execution(executionArn=begun)
    until(lambda: states.describe_execution(executionArn=begun)["status"] != "RUNNING")
    assert states.describe_execution(executionArn=begun)["status"] == "ABORTED"
    until(lambda: newest(emr, cluster)["Status"]["State"] == "CANCELLED")


def test_a_timeout_cancels_the_step_and_can_be_caught(
    emr: Any, cluster: str, machine: Callable[..., str], start: Callable[..., Execution]
) -> None:
    caught = [{"ErrorEquals": ["States.Timeout"], "Next": "Caught"}]
    arn = machine(
        Add=task("addStep.sync", add("sleep", "300"), TimeoutSeconds=2, Catch=caught, End=True),
        Caught={"Type": "Pass", "End": True},
    )
    assert start(arn, cluster=cluster)["status"] == "SUCCEEDED"
    until(lambda: newest(emr, cluster)["Status"]["State"] == "CANCELLED")


def test_iterations_of_a_map_wait_for_their_own_steps(
    cluster: str, machine: Callable[..., str], start: Callable[..., Execution]
) -> None:
    arguments = {"Args.$": "States.Array('bash', '-c', $.code)", "Jar": "command-runner.jar"}
    step = {"Name": "step", "ActionOnFailure": "CONTINUE", "HadoopJarStep": arguments}
    one = task(
        "addStep.sync",
        {"ClusterId.$": "$.cluster", "Step": step},
        ResultSelector={"state.$": "$.Step.Status.State"},
        Catch=[{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Failed"}],
        End=True,
    )
    failed = {"Type": "Pass", "Parameters": {"state": "FAILED"}, "End": True}
    arn = machine(
        All={
            "Type": "Map",
            "ItemsPath": "$.codes",
            "ItemSelector": {"cluster.$": "$.cluster", "code.$": "$$.Map.Item.Value"},
            "ItemProcessor": {"StartAt": "One", "States": {"One": one, "Failed": failed}},
            "End": True,
        }
    )
    ended = start(arn, cluster=cluster, codes=["true", "false", "true"])
    found = [each["state"] for each in json.loads(ended["output"])]
    assert found == ["COMPLETED", "FAILED", "COMPLETED"]


@pytest.mark.parametrize(
    "action", ["addStep.waitForTaskToken", "cancelStep.sync", "noSuchThing", "addStep.sync:2"]
)
def test_an_unsupported_resource_is_rejected(machine: Callable[..., str], action: str) -> None:
    with pytest.raises(ClientError, match=r"InvalidDefinition|SCHEMA_VALIDATION"):
        machine(Do=task(action, {"ClusterId": "j", "Step": add("true")["Step"]}, End=True))


def test_a_field_unknown_to_step_functions_is_rejected(machine: Callable[..., str]) -> None:
    instances = {**CLUSTER["Instances"], "UnhealthyNodeReplacement": True}
    with pytest.raises(ClientError, match=r"UnhealthyNodeReplacement.* is not supported by Step"):
        machine(Do=task("createCluster.sync", CLUSTER | {"Instances": instances}, End=True))

"""The actions of the integration: parameters, calls, results and what they wait for.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-emr.html
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from localstack_emr_msk.calls import Request, Response
from localstack_emr_msk.stepfunctions import fields

_CLUSTER_ENDED = ("TERMINATED", "TERMINATED_WITH_ERRORS")
_STEP_ENDED = ("CANCELLED", "FAILED", "INTERRUPTED")
# The errors in EMR's API model; the SDK of Step Functions has one name for all others.
_MODELLED = ("InvalidRequestException", "InternalServerException", "InternalServerError")
Client = Any


class WaitError(Exception):
    """The cluster or step failed; ``cause`` is its description."""

    def __init__(self, cause: Response) -> None:
        super().__init__("")
        self.cause = cause


@dataclass(frozen=True)
class Action:
    """An action.

    Args:
        parameters: Accepted parameters, those within them too where known (``fields``); others are
            rejected when the state machine is created.
        required: Required parameters, checked when it runs, since values may come from the input.
        call: Performs it with a client of EMR and the parameters.
        poll: Returns the result once it has ended (``.sync``), else None; may raise ``WaitError``.
        undo: Stops it when the execution is stopped or the state times out.
    """

    parameters: Mapping[str, Any]
    required: frozenset[str]
    call: Callable[[Client, Request], Response]
    poll: Callable[[Client, Request, Response], Response | None] | None = None
    undo: Callable[[Client, Request, Response], object] | None = None


def error_name(code: str) -> str:
    """Returns the name of an EMR error in Retry and Catch."""
    return f"EMR.{code if code in _MODELLED else 'AmazonElasticMapReduceException'}"


def error_cause(response: Mapping[str, Any]) -> str:
    """Returns the cause of an error, as the SDK of Step Functions writes it."""
    error, meta = response.get("Error") or {}, response.get("ResponseMetadata") or {}
    return (
        f"{error.get('Message', '')} (Service: AmazonElasticMapReduce; "
        f"Status Code: {meta.get('HTTPStatusCode')}; Error Code: {error.get('Code')}; "
        f"Request ID: {meta.get('RequestId')}; Proxy: null)"
    )


def plain(value: Any) -> Any:
    """Converts an API value to a state's output: no metadata, times in milliseconds."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items() if key != "ResponseMetadata"}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return int(value.timestamp() * 1000) if hasattr(value, "timestamp") else value


# ---- calls


def _create(emr: Client, given: Request) -> Response:
    answer = emr.run_job_flow(**given)
    return {"ClusterId": answer["JobFlowId"], "ClusterArn": answer["ClusterArn"]}


def _created(emr: Client, given: Request, submitted: Response) -> Response | None:
    cluster = emr.describe_cluster(ClusterId=submitted["ClusterId"])["Cluster"]
    state = cluster["Status"]["State"]
    if state in _CLUSTER_ENDED:
        raise WaitError(plain(cluster))
    return {**submitted, "Cluster": plain(cluster)} if state == "WAITING" else None


def _uncreate(emr: Client, given: Request, submitted: Response) -> object:
    return emr.terminate_job_flows(JobFlowIds=[submitted["ClusterId"]])


def _add(emr: Client, given: Request) -> Response:
    role = {key: given[key] for key in ("ExecutionRoleArn",) if given.get(key)}
    answer = emr.add_job_flow_steps(JobFlowId=given["ClusterId"], Steps=[given["Step"]], **role)
    return {"StepId": answer["StepIds"][0]}


def _added(emr: Client, given: Request, submitted: Response) -> Response | None:
    answer = emr.describe_step(ClusterId=given["ClusterId"], StepId=submitted["StepId"])
    step = answer["Step"]
    state = step["Status"]["State"]
    if state in _STEP_ENDED:
        raise WaitError(plain(step))
    return {**submitted, "Step": plain(step)} if state == "COMPLETED" else None


def _unadd(emr: Client, given: Request, submitted: Response) -> object:
    return emr.cancel_steps(ClusterId=given["ClusterId"], StepIds=[submitted["StepId"]])


def _cancel(emr: Client, given: Request) -> Response:
    answer = emr.cancel_steps(ClusterId=given["ClusterId"], StepIds=[given["StepId"]])
    return {"CancelStepsInfo": plain(answer["CancelStepsInfoList"][0])}


def _terminate(emr: Client, given: Request) -> Response:
    emr.terminate_job_flows(JobFlowIds=[given["ClusterId"]])
    return {}


def _terminated(emr: Client, given: Request, submitted: Response) -> Response | None:
    cluster = emr.describe_cluster(ClusterId=given["ClusterId"])["Cluster"]
    if cluster["Status"]["State"] not in _CLUSTER_ENDED:
        return None
    return {"ClusterId": given["ClusterId"], "Cluster": plain(cluster)}


def _protect(emr: Client, given: Request) -> Response:
    emr.set_termination_protection(
        JobFlowIds=[given["ClusterId"]], TerminationProtected=given["TerminationProtected"]
    )
    return {}


def _modify_fleet(emr: Client, given: Request) -> Response:
    answer = emr.list_instance_fleets(ClusterId=given["ClusterId"])
    found = {each["Name"]: each["Id"] for each in answer["InstanceFleets"]}
    name = given["InstanceFleetName"]
    if name not in found:
        raise _invalid(f"Instance fleet name '{name}' is not valid.", answer)
    change = {**given["InstanceFleet"], "InstanceFleetId": found[name]}
    emr.modify_instance_fleet(ClusterId=given["ClusterId"], InstanceFleet=change)
    return {}


def _invalid(message: str, answer: Response) -> ClientError:
    """Returns an error in EMR's form; EMR itself has no lookup of fleets by name."""
    meta = {**answer["ResponseMetadata"], "HTTPStatusCode": 400}
    error = {"Code": "InvalidRequestException", "Message": message}
    return ClientError({"Error": error, "ResponseMetadata": meta}, "ModifyInstanceFleet")


def _named(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _any(text: str) -> Mapping[str, None]:
    return dict.fromkeys(text.split())


ACTIONS: Mapping[str, Action] = {
    "createCluster": Action(
        fields.CREATE_CLUSTER, _named("Name Instances"), _create, _created, _uncreate
    ),
    "addStep": Action(
        _any("ClusterId Step ExecutionRoleArn"), _named("ClusterId Step"), _add, _added, _unadd
    ),
    "cancelStep": Action(_any("ClusterId StepId"), _named("ClusterId StepId"), _cancel),
    "terminateCluster": Action(_any("ClusterId"), _named("ClusterId"), _terminate, _terminated),
    "setClusterTerminationProtection": Action(
        _any("ClusterId TerminationProtected"),
        _named("ClusterId TerminationProtected"),
        _protect,
    ),
    "modifyInstanceFleetByName": Action(
        _any("ClusterId InstanceFleetName InstanceFleet"),
        _named("ClusterId InstanceFleetName InstanceFleet"),
        _modify_fleet,
    ),
}


def missing_parameters(action: str, given: Request) -> list[str]:
    """Returns the required parameters that are missing."""
    lacking = [each for each in ACTIONS[action].required if given.get(each) is None]
    instances = given.get("Instances") or {}
    # .sync waits for WAITING, which a cluster without steps would never reach.
    if action == "createCluster" and instances.get("KeepJobFlowAliveWhenNoSteps") is not True:
        lacking.append("Instances.KeepJobFlowAliveWhenNoSteps (true)")
    return sorted(lacking)

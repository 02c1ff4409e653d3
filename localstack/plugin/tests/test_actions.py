"""Actions of Step Functions, with a fake EMR."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from localstack_emr_msk.stepfunctions.actions import ACTIONS, error_cause, error_name
from localstack_emr_msk.stepfunctions.fields import CREATE_CLUSTER, unsupported_fields


class FakeEmr:
    """Has one instance fleet, and records its changes."""

    def __init__(self) -> None:
        self.changes: list[Any] = []

    def list_instance_fleets(self, **_: Any) -> dict[str, Any]:
        fleets = [{"Name": "task", "Id": "if-1"}]
        meta = {"HTTPStatusCode": 200, "RequestId": "r-1"}
        return {"InstanceFleets": fleets, "ResponseMetadata": meta}

    def modify_instance_fleet(self, **given: Any) -> None:
        self.changes.append(given)


def modify(emr: FakeEmr, name: str) -> None:
    change = {"TargetSpotCapacity": 2}
    given = {"ClusterId": "j-1", "InstanceFleetName": name, "InstanceFleet": change}
    ACTIONS["modifyInstanceFleetByName"].call(emr, given)


def test_an_instance_fleet_is_modified_by_name() -> None:
    emr = FakeEmr()
    modify(emr, "task")
    change = {"InstanceFleetId": "if-1", "TargetSpotCapacity": 2}
    assert emr.changes == [{"ClusterId": "j-1", "InstanceFleet": change}]


def test_an_unknown_instance_fleet_is_a_service_error() -> None:
    emr = FakeEmr()
    with pytest.raises(ClientError) as refused:
        modify(emr, "tusk")
    answer = refused.value.response
    assert error_name(answer["Error"]["Code"]) == "EMR.InvalidRequestException"
    cause = error_cause(answer)
    assert "'tusk' is not valid" in cause
    assert "Status Code: 400; Error Code: InvalidRequestException; Request ID: r-1" in cause
    assert emr.changes == []


@pytest.mark.parametrize(
    ("given", "unsupported"),
    [
        ({"Instances": {"InstanceFleets": [{"Name": "a"}], "TerminationProtected": False}}, []),
        ({"Configurations": [{"Properties": {"a.b": "c"}}], "Tags": [{"Key": "a"}]}, []),
        ({"Instances": {"UnhealthyNodeReplacement": True}}, ["UnhealthyNodeReplacement"]),
        ({"ManagedScalingPolicy": {"ScalingStrategy": "DEFAULT"}}, ["ScalingStrategy"]),
        ({"Steps": [], "Instances": {"InstanceFleets": [{"Names": "a"}]}}, ["Steps", "Names"]),
    ],
)
def test_fields_unknown_to_step_functions_are_found_at_any_depth(
    given: dict[str, Any], unsupported: list[str]
) -> None:
    assert list(unsupported_fields(given, CREATE_CLUSTER)) == unsupported

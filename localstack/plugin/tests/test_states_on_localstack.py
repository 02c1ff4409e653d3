"""What AWS documents of Step Functions: results of intrinsic functions, and the size of data.

https://docs.aws.amazon.com/step-functions/latest/dg/intrinsic-functions.html
https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html
"""

import json
import time
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.localstack

NUMBERS = list(range(1, 10))
# By function: its arguments in the input of the state, the call, and the documented result.
DOCUMENTED: dict[str, tuple[dict[str, Any], str, Any]] = {
    "Array": ({"Id": 123456}, "States.Array($.Id)", [123456]),
    "ArrayPartition": (
        {"in": NUMBERS},
        "States.ArrayPartition($.in, 4)",
        [[1, 2, 3, 4], [5, 6, 7, 8], [9]],
    ),
    "ArrayContains": ({"in": NUMBERS, "at": 5}, "States.ArrayContains($.in, $.at)", True),
    "ArrayRange": ({}, "States.ArrayRange(1, 9, 2)", [1, 3, 5, 7, 9]),
    "ArrayGetItem": ({"in": NUMBERS, "at": 5}, "States.ArrayGetItem($.in, $.at)", 6),
    "ArrayLength": ({"in": NUMBERS}, "States.ArrayLength($.in)", 9),
    "ArrayUnique": ({"in": [1, 2, 3, 3, 3, 3, 3, 3, 4]}, "States.ArrayUnique($.in)", [1, 2, 3, 4]),
    "Base64Encode": (
        {"in": "Data to encode"},
        "States.Base64Encode($.in)",
        "RGF0YSB0byBlbmNvZGU=",
    ),
    "JsonMerge": (
        {"one": {"a": {"a1": 1, "a2": 2}, "b": 2}, "two": {"a": {"a3": 1, "a4": 2}, "c": 3}},
        "States.JsonMerge($.one, $.two, false)",
        {"a": {"a3": 1, "a4": 2}, "b": 2, "c": 3},
    ),
    "StringToJson": ({"in": '{"number": 20}'}, "States.StringToJson($.in)", {"number": 20}),
    "MathAdd": ({"one": 111, "step": -1}, "States.MathAdd($.one, $.step)", 110),
    "StringSplit": (
        {"in": "1,2,3,4,5", "by": ","},
        "States.StringSplit($.in, $.by)",
        ["1", "2", "3", "4", "5"],
    ),
    # Each character separates, and what is empty between two is left out.
    "StringSplit by several": (
        {"in": "This.is+a,test=string", "by": ".+,="},
        "States.StringSplit($.in, $.by)",
        ["This", "is", "a", "test", "string"],
    ),
    "Format": (
        {"name": "Arnav", "template": "Hello, my name is {}."},
        "States.Format($.template, $.name)",
        "Hello, my name is Arnav.",
    ),
}


@pytest.fixture(scope="module")
def states(cloud: Any) -> Any:
    return cloud.client("stepfunctions")


def run(states: Any, definition: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Creates a state machine, runs it and returns how the execution ended."""
    arn = states.create_state_machine(
        name=f"test-{uuid.uuid4().hex[:8]}",
        roleArn="arn:aws:iam::000000000000:role/test",
        definition=json.dumps(definition),
    )["stateMachineArn"]
    execution = states.start_execution(stateMachineArn=arn, input=json.dumps(given))["executionArn"]
    deadline = time.monotonic() + 60
    while True:
        ended: dict[str, Any] = states.describe_execution(executionArn=execution)
        if ended["status"] != "RUNNING":
            return ended
        assert time.monotonic() < deadline
        time.sleep(0.1)


def passing(parameters: dict[str, Any]) -> dict[str, Any]:
    """Returns a state machine of one state that fills in parameters."""
    state = {"Type": "Pass", "Parameters": parameters, "End": True}
    return {"StartAt": "Fill", "States": {"Fill": state}}


def test_intrinsic_functions_have_the_results_that_aws_documents(states: Any) -> None:
    given = {str(number): each[0] for number, each in enumerate(DOCUMENTED.values())}
    calls = {
        f"{name}.$": call.replace("$.", f"$.{number}.")
        for number, (name, (_, call, _)) in enumerate(DOCUMENTED.items())
    }
    ended = run(states, passing(calls), given)
    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"]) == {name: each[2] for name, each in DOCUMENTED.items()}


def test_more_than_256_kibibytes_fail_an_execution(states: Any) -> None:
    half = "x" * (128 * 1024)
    ended = run(states, passing({"twice.$": "States.Format('{}{}', $.in, $.in)"}), {"in": half})
    assert (ended["status"], ended.get("error")) == ("FAILED", "States.DataLimitExceeded")


def test_more_than_256_kibibytes_of_input_start_no_execution(states: Any) -> None:
    with pytest.raises(ClientError, match="length less than or equal to 262144") as refused:
        run(states, passing({}), {"in": "x" * (256 * 1024)})
    assert refused.value.response["Error"]["Code"] == "ValidationException"

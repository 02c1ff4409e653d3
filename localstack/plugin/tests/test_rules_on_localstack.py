"""Requests that AWS rules out, sent to LocalStack without the checks of boto3."""

import base64
import json
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "eu-central-1"
pytestmark = pytest.mark.localstack

PATTERN = "Member must satisfy regular expression pattern"
LENGTH = "Member must have length less than or equal to"
TRUST = {"Version": "2012-10-17", "Statement": []}
LONG_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": f"arn:aws:s3:::{'b' * 40}/{n}",
            }
            for n in range(130)
        ],
    }
)
STATES = {
    "StartAt": "Add",
    "States": {
        "Add": {
            "Type": "Task",
            "Resource": "arn:aws:states:::elasticmapreduce:addStep.sync",
            "Parameters": {
                "ClusterId": "j-1",
                "Step": {"Name.$": "$.name", "HadoopJarStep": {"Jar": "command-runner.jar"}},
            },
            "End": True,
        }
    },
}
ROLE = "arn:aws:iam::000000000000:role/r"


def unchecked(cloud: Any, service: str) -> Any:
    """Returns a client that sends what it is given, as other SDKs do."""
    session: Any = boto3.session.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
    )  # its types accept literal service names only
    return session.client(
        service,
        endpoint_url=cloud.endpoint,
        config=Config(
            parameter_validation=False,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
        ),
    )


@pytest.mark.parametrize(
    ("service", "operation", "request_", "code", "message"),
    [
        (
            "iam",
            "create_role",
            {"RoleName": "two words", "AssumeRolePolicyDocument": json.dumps(TRUST)},
            "ValidationError",
            "Value 'two words' at 'roleName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [\\w+=,.@-]+",
        ),
        (
            "iam",
            "create_role",
            # A typographic dash, which IAM does not accept in descriptions.
            {
                "RoleName": "r",
                "AssumeRolePolicyDocument": json.dumps(TRUST),
                "Description": "one \N{EM DASH} two",
            },
            "ValidationError",
            PATTERN,
        ),
        (
            "stepfunctions",
            "create_state_machine",
            {"name": "n" * 81, "definition": "{}", "roleArn": ROLE},
            "ValidationException",
            f"{LENGTH} 80",
        ),
        (
            "stepfunctions",
            "create_state_machine",
            {"name": "literal", "definition": json.dumps(STATES), "roleArn": ROLE},
            "InvalidDefinition",
            "State Add: Name of a step cannot be a path",
        ),
        (
            "events",
            "put_rule",
            {"Name": "a b", "EventPattern": "{}"},
            "ValidationException",
            PATTERN,
        ),
        (
            "events",
            "put_rule",
            {"Name": "r", "EventPattern": json.dumps({"source": ["s" * 2048]})},
            "ValidationException",
            "2048 is the most",
        ),
        (
            "emr",
            "put_auto_termination_policy",
            {"AutoTerminationPolicy": {"IdleTimeout": 60}},
            "ValidationException",
            "'clusterId' failed to satisfy constraint: Member must not be null",
        ),
        (
            "kafka",
            "create_configuration",
            {"Name": "n", "ServerProperties": None},
            "BadRequestException",
            "Member must not be null",
        ),
        (
            "ec2",
            "create_launch_template",
            {
                "LaunchTemplateName": "big",
                "LaunchTemplateData": {"UserData": base64.b64encode(b"x" * 16385).decode()},
            },
            "InvalidParameterValue",
            "User data is limited to 16384 bytes",
        ),
        (
            "ec2",
            "create_security_group",
            {"GroupName": "g", "Description": "It's for EMR"},
            "InvalidParameterValue",
            "Invalid security group GroupDescription",
        ),
        (
            "iam",
            "put_role_policy",
            {"RoleName": "r", "PolicyName": "p", "PolicyDocument": LONG_POLICY},
            "LimitExceeded",
            "10240 is the most",
        ),
        (
            "iam",
            "create_policy",
            {"PolicyName": "p", "PolicyDocument": LONG_POLICY},
            "LimitExceeded",
            "6144 is the most",
        ),
        (
            "kms",
            "create_key",
            {"Policy": json.dumps({"Statement": [], "Id": "x" * 32768})},
            "LimitExceededException",
            "32768 is the most",
        ),
        (
            "elbv2",
            "create_target_group",
            {"Name": "a-name-of-more-than-thirty-two-characters"},
            "ValidationError",
            "1 to 32 letters",
        ),
    ],
)
def test_a_request_that_aws_rules_out_is_refused(
    cloud: Any,
    service: str,
    operation: str,
    request_: dict[str, Any],
    code: str,
    message: str,
) -> None:
    call = getattr(unchecked(cloud, service), operation)
    with pytest.raises(ClientError) as refused:
        call(**request_)
    error = refused.value.response["Error"]
    assert error["Code"] == code
    assert message in error["Message"]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"Key": "k" * 1025}, "KeyTooLongError"),
        ({"Key": "k", "Metadata": {"reference": "r" * 2040}}, "MetadataTooLarge"),
    ],
)
def test_s3_refuses_keys_and_metadata_that_are_too_long(
    s3: Any, bucket: str, wrong: dict[str, Any], code: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k" * 1024, Metadata={"reference": "r" * 2039})
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Body=b"", **wrong)
    assert refused.value.response["Error"]["Code"] == code


def test_the_largest_user_data_is_accepted(cloud: Any) -> None:
    ec2 = cloud.client("ec2")
    made = ec2.create_launch_template(
        LaunchTemplateName="largest",
        LaunchTemplateData={"UserData": base64.b64encode(b"x" * 16384).decode()},
    )
    assert made["LaunchTemplate"]["LatestVersionNumber"] == 1

"""What deploying needs: the list that the deploy role and `make deploy` read."""

import re

import pytest

from deploy.permissions import Scope, Statement, read_statements
from tests.support.paths import ROOT

SCOPE = Scope("aws", "123456789012", "eu-central-1", "superres")


@pytest.fixture(scope="module")
def statements() -> list[Statement]:
    return list(read_statements(SCOPE))


def types_in_infra() -> set[str]:
    """Returns the resource types that Terraform creates for an environment and its state."""
    infra = ROOT / "infra"
    files = [*infra.glob("*.tf"), *infra.glob("modules/*/*.tf"), *infra.glob("state/*.tf")]
    text = "\n".join(file.read_text("utf-8") for file in files)
    return set(re.findall(r'^resource "(aws_\w+)"', text, re.MULTILINE))


def test_every_resource_type_has_a_statement(statements):
    covered = {kind for each in statements for kind in each.resource_types}
    assert types_in_infra() - covered == set()


def test_statements_are_for_types_that_exist(statements):
    text = "\n".join(file.read_text("utf-8") for file in (ROOT / "infra").rglob("*.tf"))
    there = set(re.findall(r'^(?:resource|data) "(aws_\w+)"', text, re.MULTILINE))
    for each in statements:
        # Metrics from logs may come and go with the alarms.
        assert set(each.resource_types) - there <= {"aws_cloudwatch_log_metric_filter"}, each.sid


def test_actions_are_named_one_by_one_and_once(statements):
    names = [each.sid for each in statements]
    assert len(names) == len(set(names))
    for each in statements:
        assert each.actions
        assert len(set(each.actions)) == len(each.actions), each.sid
        assert not any("*" in action for action in each.actions), each.sid


def test_arns_are_of_this_account_and_project(statements):
    arns = {arn for each in statements for arn in each.resources} - {"*"}
    for arn in arns:
        assert "$" not in arn
        assert "superres-" in arn or arn.startswith(
            (
                "arn:aws:ec2:eu-central-1:123456789012:instance/",
                "arn:aws:iam::123456789012:role/aws-service-role/",
                "arn:aws:kms:eu-central-1:123456789012:key/",
                "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!",
                "arn:aws:ssm:eu-central-1:123456789012:session/",
                "arn:aws:ssm:eu-central-1::document/AWS-StartPortForwardingSession",
                "arn:aws:ssm:eu-central-1::parameter/aws/service/",
            )
        ), arn


def test_the_checks_before_a_deployment_are_allowed(statements):
    allowed = {action for each in statements for action in each.actions}
    assert allowed >= {
        "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInstanceTypeOfferings",
        "ec2:DescribeInstanceTypes",
        "ec2:DescribeVpcEndpointServices",
        "elasticmapreduce:ListSupportedInstanceTypes",
        "iam:GetRole",
        "iam:SimulatePrincipalPolicy",
        "kafka:ListKafkaVersions",
        "servicequotas:GetServiceQuota",
    }


def test_submitting_watching_and_destroying_are_allowed(statements):
    allowed = {action for each in statements for action in each.actions}
    assert allowed >= {
        "autoscaling:DescribeAutoScalingGroups",
        "cloudwatch:ListMetrics",
        "elasticmapreduce:AddJobFlowSteps",
        "elasticmapreduce:TerminateJobFlows",
        "logs:DescribeLogStreams",
        "s3:DeleteObjectVersion",
        "secretsmanager:GetSecretValue",
        "ssm:StartSession",
        "states:GetExecutionHistory",
        "states:StartExecution",
        "states:StopExecution",
    }

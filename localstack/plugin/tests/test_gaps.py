"""Answers of LocalStack's own services become what AWS would answer."""

from types import SimpleNamespace
from typing import Any

from localstack_emr_msk.gaps import close

CONTEXT = SimpleNamespace(account_id="000000000000", region="eu-central-1")


def answered(service: str, operation: str, answer: Any, **request: Any) -> Any:
    table: dict[str, Any] = {operation: lambda context, request: answer}
    close(service, table)
    return table[operation](CONTEXT, request)


def test_a_policy_that_was_taken_away_is_gone() -> None:
    def told(policy: str) -> Any:
        attributes = {"RedriveAllowPolicy": policy, "QueueArn": "arn"}
        return answered("sqs", "GetQueueAttributes", {"Attributes": attributes})["Attributes"]

    assert told("") == {"QueueArn": "arn"}
    assert told("{}") == {"RedriveAllowPolicy": "{}", "QueueArn": "arn"}


def test_tags_of_a_launch_template_are_not_those_of_its_instances() -> None:
    mine = [{"ResourceType": "instance", "Tags": []}]
    tags = [{"ResourceType": "launch-template", "Tags": []}, *mine]
    versions = [{"LaunchTemplateData": {"TagSpecifications": tags}}]
    answer = answered("ec2", "DescribeLaunchTemplateVersions", {"LaunchTemplateVersions": versions})
    assert answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]["TagSpecifications"] == mine


def test_tags_that_come_with_an_alarm_are_kept() -> None:
    kept: list[Any] = []
    table: dict[str, Any] = {
        "PutMetricAlarm": lambda context, request: None,
        "TagResource": lambda context, request: kept.append(request),
    }
    close("cloudwatch", table)
    tags = [{"Key": "a", "Value": "1"}]
    table["PutMetricAlarm"](CONTEXT, {"AlarmName": "late", "Tags": tags})
    table["PutMetricAlarm"](CONTEXT, {"AlarmName": "other"})
    arn = "arn:aws:cloudwatch:eu-central-1:000000000000:alarm:late"
    assert kept == [{"ResourceARN": arn, "Tags": tags}]


def test_a_flow_log_tells_the_form_of_its_files() -> None:
    logs = [{"FlowLogId": "fl-1"}, {"FlowLogId": "fl-2"}]
    table: dict[str, Any] = {
        "CreateFlowLogs": lambda context, request: {"FlowLogIds": ["fl-1"]},
        "DescribeFlowLogs": lambda context, request: {"FlowLogs": logs},
    }
    close("ec2", table)
    form = {"FileFormat": "parquet", "HiveCompatiblePartitions": False, "PerHourPartition": True}
    table["CreateFlowLogs"](CONTEXT, {"DestinationOptions": form})
    told = table["DescribeFlowLogs"](CONTEXT, {})["FlowLogs"]
    assert [each.get("DestinationOptions") for each in told] == [form, None]


def test_a_state_machine_tells_whether_it_is_traced() -> None:
    table: dict[str, Any] = {
        "CreateStateMachine": lambda context, request: {"stateMachineArn": request["name"]},
        "UpdateStateMachine": lambda context, request: {},
        "DescribeStateMachine": lambda context, request: {},
    }
    close("stepfunctions", table)

    def traced(arn: str) -> Any:
        told = table["DescribeStateMachine"](CONTEXT, {"stateMachineArn": arn})
        return told["tracingConfiguration"]["enabled"]

    create = {"name": "yes", "tracingConfiguration": {"enabled": True}}
    table["CreateStateMachine"](CONTEXT, create)
    assert (traced("yes"), traced("no")) == (True, False)
    update = {"stateMachineArn": "yes", "tracingConfiguration": {"enabled": False}}
    table["UpdateStateMachine"](CONTEXT, update)
    assert traced("yes") is False


def test_rules_of_security_groups_keep_their_description() -> None:
    rules = [{"SecurityGroupRuleId": "sgr-1"}]
    table: dict[str, Any] = {
        "AuthorizeSecurityGroupEgress": lambda context, request: {"SecurityGroupRules": rules},
        "DescribeSecurityGroupRules": lambda context, request: {
            "SecurityGroupRules": [{"SecurityGroupRuleId": f"sgr-{n}"} for n in (1, 2)]
        },
    }
    close("ec2", table)
    permission = {"PrefixListIds": [{"PrefixListId": "pl-1", "Description": "packages"}]}
    table["AuthorizeSecurityGroupEgress"](CONTEXT, {"IpPermissions": [permission]})
    told = table["DescribeSecurityGroupRules"](CONTEXT, {})["SecurityGroupRules"]
    assert [each.get("Description") for each in told] == ["packages", None]


def test_other_services_stay_as_they_are() -> None:
    def handler(context: Any, request: Any) -> None: ...

    table: dict[str, Any] = {"GetQueueAttributes": handler}
    close("ec2", table)
    assert table["GetQueueAttributes"] is handler

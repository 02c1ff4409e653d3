"""Responses of LocalStack's own services become those of AWS."""

from types import SimpleNamespace
from typing import Any

from localstack_emr_msk.gaps import repair_operations

CONTEXT = SimpleNamespace(account_id="000000000000", region="eu-central-1")


def answered(service: str, operation: str, answer: Any, **request: Any) -> Any:
    table: dict[str, Any] = {operation: lambda context, request: answer}
    repair_operations(service, table)
    return table[operation](CONTEXT, request)


def test_a_removed_policy_is_not_returned() -> None:
    def attributes_with(policy: str) -> Any:
        attributes = {"RedriveAllowPolicy": policy, "QueueArn": "arn"}
        return answered("sqs", "GetQueueAttributes", {"Attributes": attributes})["Attributes"]

    assert attributes_with("") == {"QueueArn": "arn"}
    assert attributes_with("{}") == {"RedriveAllowPolicy": "{}", "QueueArn": "arn"}


def test_tags_of_a_launch_template_are_not_those_of_its_instances() -> None:
    mine = [{"ResourceType": "instance", "Tags": []}]
    tags = [{"ResourceType": "launch-template", "Tags": []}, *mine]
    versions = [{"LaunchTemplateData": {"TagSpecifications": tags}}]
    answer = answered("ec2", "DescribeLaunchTemplateVersions", {"LaunchTemplateVersions": versions})
    assert answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]["TagSpecifications"] == mine


def test_tags_of_a_new_alarm_are_kept() -> None:
    kept: list[Any] = []
    table: dict[str, Any] = {
        "PutMetricAlarm": lambda context, request: None,
        "TagResource": lambda context, request: kept.append(request),
    }
    repair_operations("cloudwatch", table)
    tags = [{"Key": "a", "Value": "1"}]
    table["PutMetricAlarm"](CONTEXT, {"AlarmName": "late", "Tags": tags})
    table["PutMetricAlarm"](CONTEXT, {"AlarmName": "other"})
    arn = "arn:aws:cloudwatch:eu-central-1:000000000000:alarm:late"
    assert kept == [{"ResourceARN": arn, "Tags": tags}]


def test_a_flow_log_returns_its_file_format() -> None:
    logs = [{"FlowLogId": "fl-1"}, {"FlowLogId": "fl-2"}]
    table: dict[str, Any] = {
        "CreateFlowLogs": lambda context, request: {"FlowLogIds": ["fl-1"]},
        "DescribeFlowLogs": lambda context, request: {"FlowLogs": logs},
    }
    repair_operations("ec2", table)
    form = {"FileFormat": "parquet", "HiveCompatiblePartitions": False, "PerHourPartition": True}
    table["CreateFlowLogs"](CONTEXT, {"DestinationOptions": form})
    output = table["DescribeFlowLogs"](CONTEXT, {})["FlowLogs"]
    assert [each.get("DestinationOptions") for each in output] == [form, None]


def test_a_state_machine_returns_whether_it_is_traced() -> None:
    table: dict[str, Any] = {
        "CreateStateMachine": lambda context, request: {"stateMachineArn": request["name"]},
        "UpdateStateMachine": lambda context, request: {},
        "DescribeStateMachine": lambda context, request: {},
    }
    repair_operations("stepfunctions", table)

    def traced(arn: str) -> Any:
        output = table["DescribeStateMachine"](CONTEXT, {"stateMachineArn": arn})
        return output["tracingConfiguration"]["enabled"]

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
    repair_operations("ec2", table)
    permission = {"PrefixListIds": [{"PrefixListId": "pl-1", "Description": "packages"}]}
    table["AuthorizeSecurityGroupEgress"](CONTEXT, {"IpPermissions": [permission]})
    output = table["DescribeSecurityGroupRules"](CONTEXT, {})["SecurityGroupRules"]
    assert [each.get("Description") for each in output] == ["packages", None]


def test_other_services_are_unchanged() -> None:
    def handler(context: Any, request: Any) -> None: ...

    table: dict[str, Any] = {"GetQueueAttributes": handler}
    repair_operations("ec2", table)
    assert table["GetQueueAttributes"] is handler

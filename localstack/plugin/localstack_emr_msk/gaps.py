"""Repairs responses of the free LocalStack that differ from AWS, so that Terraform plans no change.

Each repair runs after an operation and may change its response. None replaces a provider.
"""

import functools
from collections.abc import Callable, MutableMapping
from typing import Any

from localstack_emr_msk.calls import Response

Table = MutableMapping[str, Any]
# The service's operations, the context of the request, the request and the response.
Repair = Callable[[Table, Any, Response, Response], None]


_descriptions: dict[str, str] = {}


def _keep_rule_description(_: Table, __: Any, request: Response, answer: Response) -> None:
    """Keeps the description of a new rule."""
    sources = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
    given = [
        each.get("Description")
        for permission in request.get("IpPermissions") or []
        for source in sources
        for each in permission.get(source) or []
    ]
    made = answer.get("SecurityGroupRules") or []
    # Terraform creates one rule at a time; with several, descriptions could not be assigned.
    if len(given) == len(made) == 1 and given[0]:
        _descriptions[made[0]["SecurityGroupRuleId"]] = given[0]


def _add_rule_description(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """LocalStack omits the description of rules for another group or a prefix list."""
    for rule in answer.get("SecurityGroupRules") or []:
        known = _descriptions.get(rule["SecurityGroupRuleId"])
        if known and not rule.get("Description"):
            rule["Description"] = known


def _remove_launch_template_tags(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """LocalStack returns the template's own tags as tags of its instances."""
    for version in answer.get("LaunchTemplateVersions") or []:
        data = version.get("LaunchTemplateData") or {}
        tags = data.pop("TagSpecifications", None) or []
        kept = [each for each in tags if each.get("ResourceType") != "launch-template"]
        if kept:
            data["TagSpecifications"] = kept


_destinations: dict[str, Any] = {}


def _keep_flow_log_options(_: Table, __: Any, request: Response, answer: Response) -> None:
    if request.get("DestinationOptions"):
        made = answer.get("FlowLogIds") or []
        _destinations.update(dict.fromkeys(made, request["DestinationOptions"]))


def _add_flow_log_options(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """LocalStack forgets the format of files in S3."""
    for flow_log in answer.get("FlowLogs") or []:
        known = _destinations.get(flow_log["FlowLogId"])
        if known is not None:
            flow_log.setdefault("DestinationOptions", known)


def _remove_empty_redrive_policy(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """LocalStack returns a removed policy as an empty text; Terraform waits for its absence."""
    attributes = answer.get("Attributes") or {}
    if attributes.get("RedriveAllowPolicy") == "":
        del attributes["RedriveAllowPolicy"]


def _tag_alarm(table: Table, context: Any, request: Response, _: Response) -> None:
    """LocalStack ignores the tags of a new alarm."""
    if request.get("Tags"):
        prefix = f"arn:aws:cloudwatch:{context.region}:{context.account_id}:alarm"
        tagged = {"ResourceARN": f"{prefix}:{request['AlarmName']}", "Tags": request["Tags"]}
        table["TagResource"](context, tagged)


_tracing: dict[str, Any] = {}


def _keep_tracing(_: Table, __: Any, request: Response, answer: Response) -> None:
    arn = answer.get("stateMachineArn") or request.get("stateMachineArn")
    if arn and request.get("tracingConfiguration") is not None:
        _tracing[arn] = request["tracingConfiguration"]


def _add_tracing(_: Table, __: Any, request: Response, answer: Response) -> None:
    """LocalStack forgets whether a state machine is traced."""
    known = _tracing.get(request["stateMachineArn"], {"enabled": False})
    answer.setdefault("tracingConfiguration", known)


REPAIRS: dict[tuple[str, str], Repair] = {
    ("ec2", "AuthorizeSecurityGroupIngress"): _keep_rule_description,
    ("ec2", "AuthorizeSecurityGroupEgress"): _keep_rule_description,
    ("ec2", "DescribeSecurityGroupRules"): _add_rule_description,
    ("ec2", "DescribeLaunchTemplateVersions"): _remove_launch_template_tags,
    ("ec2", "CreateFlowLogs"): _keep_flow_log_options,
    ("ec2", "DescribeFlowLogs"): _add_flow_log_options,
    ("sqs", "GetQueueAttributes"): _remove_empty_redrive_policy,
    ("cloudwatch", "PutMetricAlarm"): _tag_alarm,
    ("stepfunctions", "CreateStateMachine"): _keep_tracing,
    ("stepfunctions", "UpdateStateMachine"): _keep_tracing,
    ("stepfunctions", "DescribeStateMachine"): _add_tracing,
}


def repair_operations(service: str, table: Table) -> None:
    """Wraps the operations of a loaded service that need a repair."""
    for (name, operation), repair in REPAIRS.items():
        if name == service and operation in table:
            table[operation] = _repaired(table, table[operation], repair)


def _repaired(table: Table, handler: Any, repair: Repair) -> Any:
    def handle(context: Any, request: Any) -> Any:
        answer = handler(context, request)
        response = {} if answer is None else answer
        if isinstance(response, dict):
            repair(table, context, request or {}, response)
        return response

    return functools.update_wrapper(handle, handler, updated=())

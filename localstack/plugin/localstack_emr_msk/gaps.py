"""What the free LocalStack tells otherwise than AWS: Terraform would plan a change for ever.

Each repair runs after an operation and may change its answer. Nothing here replaces a provider.
"""

import functools
from collections.abc import Callable, MutableMapping
from typing import Any

from localstack_emr_msk.calls import Response

Table = MutableMapping[str, Any]
# Operations of the service, the request's context, the request and the answer.
Repair = Callable[[Table, Any, Response, Response], None]


_descriptions: dict[str, str] = {}


def _rule_described(_: Table, __: Any, request: Response, answer: Response) -> None:
    """Keeps what a new rule is described with."""
    sources = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
    given = [
        each.get("Description")
        for permission in request.get("IpPermissions") or []
        for source in sources
        for each in permission.get(source) or []
    ]
    made = answer.get("SecurityGroupRules") or []
    # Terraform asks for one rule at a time; of several it would not be known which is which.
    if len(given) == len(made) == 1 and given[0]:
        _descriptions[made[0]["SecurityGroupRuleId"]] = given[0]


def _rule_told(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """Rules for another group or a prefix list are told without their description."""
    for told in answer.get("SecurityGroupRules") or []:
        known = _descriptions.get(told["SecurityGroupRuleId"])
        if known and not told.get("Description"):
            told["Description"] = known


def _launch_templates(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """Tags of the template itself are told as tags that instances get."""
    for version in answer.get("LaunchTemplateVersions") or []:
        data = version.get("LaunchTemplateData") or {}
        tags = data.pop("TagSpecifications", None) or []
        kept = [each for each in tags if each.get("ResourceType") != "launch-template"]
        if kept:
            data["TagSpecifications"] = kept


_destinations: dict[str, Any] = {}


def _flow_log(_: Table, __: Any, request: Response, answer: Response) -> None:
    if request.get("DestinationOptions"):
        made = answer.get("FlowLogIds") or []
        _destinations.update(dict.fromkeys(made, request["DestinationOptions"]))


def _flow_logs(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """The form of files in S3 is forgotten."""
    for told in answer.get("FlowLogs") or []:
        if told["FlowLogId"] in _destinations:
            told.setdefault("DestinationOptions", _destinations[told["FlowLogId"]])


def _queue_attributes(_: Table, __: Any, ___: Response, answer: Response) -> None:
    """A policy that was taken away is told as an empty text; Terraform waits until it is gone."""
    attributes = answer.get("Attributes") or {}
    if attributes.get("RedriveAllowPolicy") == "":
        del attributes["RedriveAllowPolicy"]


def _alarm(table: Table, context: Any, request: Response, _: Response) -> None:
    """Tags that come with an alarm are dropped."""
    if request.get("Tags"):
        place = f"arn:aws:cloudwatch:{context.region}:{context.account_id}:alarm"
        tagged = {"ResourceARN": f"{place}:{request['AlarmName']}", "Tags": request["Tags"]}
        table["TagResource"](context, tagged)


_tracing: dict[str, Any] = {}


def _trace(_: Table, __: Any, request: Response, answer: Response) -> None:
    arn = answer.get("stateMachineArn") or request.get("stateMachineArn")
    if arn and request.get("tracingConfiguration") is not None:
        _tracing[arn] = request["tracingConfiguration"]


def _traced(_: Table, __: Any, request: Response, answer: Response) -> None:
    """Whether a state machine is traced is forgotten."""
    known = _tracing.get(request["stateMachineArn"], {"enabled": False})
    answer.setdefault("tracingConfiguration", known)


REPAIRS: dict[tuple[str, str], Repair] = {
    ("ec2", "AuthorizeSecurityGroupIngress"): _rule_described,
    ("ec2", "AuthorizeSecurityGroupEgress"): _rule_described,
    ("ec2", "DescribeSecurityGroupRules"): _rule_told,
    ("ec2", "DescribeLaunchTemplateVersions"): _launch_templates,
    ("ec2", "CreateFlowLogs"): _flow_log,
    ("ec2", "DescribeFlowLogs"): _flow_logs,
    ("sqs", "GetQueueAttributes"): _queue_attributes,
    ("cloudwatch", "PutMetricAlarm"): _alarm,
    ("stepfunctions", "CreateStateMachine"): _trace,
    ("stepfunctions", "UpdateStateMachine"): _trace,
    ("stepfunctions", "DescribeStateMachine"): _traced,
}


def close(service: str, table: Table) -> None:
    """Repairs a service's operations, once it is loaded."""
    for (name, operation), repair in REPAIRS.items():
        if name == service and operation in table:
            table[operation] = _repaired(table, table[operation], repair)


def _repaired(table: Table, handler: Any, repair: Repair) -> Any:
    def handle(context: Any, request: Any) -> Any:
        answer = handler(context, request)
        told = {} if answer is None else answer
        if isinstance(told, dict):
            repair(table, context, request or {}, told)
        return told

    return functools.update_wrapper(handle, handler, updated=())

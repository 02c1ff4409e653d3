"""The permissions that a call needs: actions, resources, and the keys of their conditions.

An action is the service's prefix and, but for S3 and batches, the operation's name:
https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from localstack_emr_msk.iam import keys, s3_actions
from localstack_emr_msk.iam.cloud import Call, Cloud
from localstack_emr_msk.iam.patterns import Context
from localstack_emr_msk.iam.policies import Needed

# Services whose actions have another prefix than botocore's name of the service.
_PREFIXES: Mapping[str, str] = {
    "apigatewayv2": "apigateway",
    "elb": "elasticloadbalancing",
    "elbv2": "elasticloadbalancing",
    "emr": "elasticmapreduce",
    "opensearch": "es",
    "resourcegroupstaggingapi": "tag",
    "stepfunctions": "states",
}
# "No permissions are required to perform this operation", or, of the second, to call it with the
# credentials of a user: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
_FREE = frozenset({"sts:GetCallerIdentity", "sts:GetSessionToken"})
_ANY = "*"
_EMR_SERVICES = {
    "ServiceRole": "elasticmapreduce.amazonaws.com",
    "AutoScalingRole": "application-autoscaling.amazonaws.com",
}
# Actions that RunJobFlow needs too if the request has these fields.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-fine-grained-cluster-access.html
_EMR_FIELDS = {
    "Tags": "AddTags",
    "ManagedScalingPolicy": "PutManagedScalingPolicy",
    "AutoTerminationPolicy": "PutAutoTerminationPolicy",
}


def permissions(call: Call, cloud: Cloud) -> Sequence[Needed]:
    """Returns the permissions that a call needs, those on KMS keys included."""
    if call.service == "s3":
        found = list(s3_actions.permissions(call))
        absence = s3_actions.to_learn_of_absence(call, cloud)
    else:
        of_service = _SERVICES.get(call.service, _of_any_service)
        found = [each for each in of_service(call, cloud) if each.action not in _FREE]
        absence = iter(())
    if not found:
        return ()
    on_keys = keys.permissions(call, found[0].resource, cloud)
    return [*(_tagged(each, cloud) for each in found), *absence, *on_keys]


def _tagged(needed: Needed, cloud: Cloud) -> Needed:
    """Adds the tags of the resource; EMR has keys of its own for them."""
    tags = cloud.tags(needed.resource)
    if not tags:
        return needed
    return replace(needed, context={**needed.context, **_tag_keys("resourcetag", tags)})


def _tag_keys(kind: str, tags: Mapping[str, str]) -> Context:
    return {
        f"{prefix}:{kind}/{name}".lower(): (value,)
        for prefix in ("aws", "elasticmapreduce")
        for name, value in tags.items()
    }


def action(call: Call) -> str:
    """Returns the action of an operation that has a single one with its own name."""
    return f"{_PREFIXES.get(call.service, call.service)}:{call.operation}"


# ---- services


def _of_any_service(call: Call, cloud: Cloud) -> Iterator[Needed]:
    """Takes the first ARN among the parameters as the resource."""
    arns = (
        value
        for name, value in call.parameters.items()
        if name.lower().endswith("arn") and isinstance(value, str)
    )
    yield Needed(action(call), next(arns, _ANY), {})


def _of_sqs(call: Call, cloud: Cloud) -> Iterator[Needed]:
    # A batch needs the permission of a single message:
    # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
    given = call.parameters
    path = [call.account, str(given.get("QueueName", _ANY))]
    if given.get("QueueUrl"):
        path = [call.account, *urlsplit(given["QueueUrl"]).path.strip("/").split("/")]
    arn = f"arn:aws:sqs:{call.region}:{path[-2]}:{path[-1]}"
    yield Needed(action(call).removesuffix("Batch"), arn, {})


def _of_sns(call: Call, cloud: Cloud) -> Iterator[Needed]:
    for each in _of_any_service(call, cloud):
        yield replace(each, action=each.action.removesuffix("Batch"))


def _of_kms(call: Call, cloud: Cloud) -> Iterator[Needed]:
    key = call.parameters.get("KeyId")
    arn = cloud.key_arn(call, key) if key else None
    yield Needed(action(call), arn or _ANY, {"kms:calleraccount": (call.account,)})


def _of_secrets(call: Call, cloud: Cloud) -> Iterator[Needed]:
    secret = call.parameters.get("SecretId")
    yield Needed(action(call), cloud.secret_arn(call, secret) if secret else _ANY, {})


def _of_sts(call: Call, cloud: Cloud) -> Iterator[Needed]:
    given = call.parameters
    context: Context = {}
    if given.get("ExternalId"):
        context = {"sts:externalid": (given["ExternalId"],)}
    yield Needed(action(call), given.get("RoleArn", _ANY), context)


def _of_logs(call: Call, cloud: Cloud) -> Iterator[Needed]:
    # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatchlogs.html
    group, stream = call.parameters.get("logGroupName"), call.parameters.get("logStreamName")
    arn = f"arn:aws:logs:{call.region}:{call.account}:log-group:{group or _ANY}"
    yield Needed(action(call), f"{arn}:log-stream:{stream}" if stream else arn, {})


def _of_cloudwatch(call: Call, cloud: Cloud) -> Iterator[Needed]:
    space = call.parameters.get("Namespace")
    context: Context = {"cloudwatch:namespace": (space,)} if space else {}
    yield Needed(action(call), _ANY, context)


def _of_ssm(call: Call, cloud: Cloud) -> Iterator[Needed]:
    given = call.parameters
    names = given.get("Names") or [given.get("Name") or given.get("Path") or _ANY]
    for name in names:
        arn = f"arn:aws:ssm:{call.region}:{call.account}:parameter/{name.lstrip('/')}"
        yield Needed(action(call), arn, {})


def _of_emr(call: Call, cloud: Cloud) -> Iterator[Needed]:
    given = call.parameters
    requested = _tag_keys("requesttag", _tags(given))
    if call.operation == "RunJobFlow":
        yield Needed(action(call), _ANY, requested)
        yield from _to_set_up(call, requested)
        yield from _to_pass_roles(call, cloud)
        return
    named = [given[name] for name in ("ClusterId", "JobFlowId", "ResourceId") if given.get(name)]
    ids = [*named, *(given.get("JobFlowIds") or ())]
    for arn in [_cluster(call, each) for each in ids] or [_ANY]:
        yield Needed(action(call), arn, requested)


def _to_set_up(call: Call, requested: Context) -> Iterator[Needed]:
    # The id of the new cluster is not known yet; it has the tags of the request.
    context = {**requested, **_tag_keys("resourcetag", _tags(call.parameters))}
    for field, name in _EMR_FIELDS.items():
        if call.parameters.get(field):
            yield Needed(f"elasticmapreduce:{name}", _cluster(call, "j-NEW"), context)


def _to_pass_roles(call: Call, cloud: Cloud) -> Iterator[Needed]:
    # https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-iam-roles-create-permissions.html
    for field, service in _EMR_SERVICES.items():
        role = call.parameters.get(field)
        if role:
            yield _to_pass(call, role, service)
    profile = call.parameters.get("JobFlowRole")
    if profile:
        role = cloud.role_of_profile(call.account, profile) or profile
        yield _to_pass(call, role, "ec2.amazonaws.com")


def _to_pass(call: Call, role: str, service: str) -> Needed:
    arn = role if role.startswith("arn:") else f"arn:aws:iam::{call.account}:role/{role}"
    return Needed("iam:PassRole", arn, {"iam:passedtoservice": (service,)})


def _cluster(call: Call, identifier: str) -> str:
    return f"arn:aws:elasticmapreduce:{call.region}:{call.account}:cluster/{identifier}"


def _tags(given: Mapping[str, Any]) -> Mapping[str, str]:
    return {each["Key"]: each.get("Value", "") for each in given.get("Tags") or ()}


_SERVICES: Mapping[str, Callable[[Call, Cloud], Iterator[Needed]]] = {
    "cloudwatch": _of_cloudwatch,
    "emr": _of_emr,
    "kms": _of_kms,
    "logs": _of_logs,
    "secretsmanager": _of_secrets,
    "sns": _of_sns,
    "sqs": _of_sqs,
    "ssm": _of_ssm,
    "sts": _of_sts,
}

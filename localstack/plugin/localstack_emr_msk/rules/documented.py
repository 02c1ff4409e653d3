"""Quotas and rules that AWS's documentation has and its API models lack, each with its page."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Request = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """A rule for some operations.

    Attributes:
        name: Name in docs/aws-rules.md and at the end of the error's message.
        source: Page of AWS that states it.
        service: Service of the operations, as botocore names it.
        operations: Operations that it applies to.
        code: Error code of AWS.
        check: Yields what is wrong with a request; a sentence each.
    """

    name: str
    source: str
    service: str
    operations: frozenset[str]
    code: str
    check: Callable[[Request], Iterator[str]]


def broken_rules(service: str, operation: str, request: Request) -> Iterator[tuple[Rule, str]]:
    """Yields each rule that a request breaks, with what is wrong."""
    for rule in RULES:
        if rule.service == service and operation in rule.operations:
            for why in rule.check(request):
                yield rule, why


def _operations(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _at_most(what: str, size: int, most: int, unit: str = "bytes") -> Iterator[str]:
    if size > most:
        yield f"{what} has {size} {unit}; {most} is the most"


def _bytes(text: str | bytes | None) -> int:
    return len(text if isinstance(text, bytes) else (text or "").encode())


# ---- EC2

_USER_DATA_BYTES = 16 * 1024
_GROUP_TEXT = re.compile(r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}")


def _user_data(request: Request) -> Iterator[str]:
    text = (request.get("LaunchTemplateData") or request).get("UserData") or ""
    try:
        size = len(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        yield "Invalid BASE64 encoding of user data."
        return
    if size > _USER_DATA_BYTES:
        yield f"User data is limited to {_USER_DATA_BYTES} bytes; it has {size}"


def _group_texts(request: Request) -> Iterator[str]:
    given = {"GroupName": request.get("GroupName"), "GroupDescription": request.get("Description")}
    for name, text in given.items():
        if text is not None and not _GROUP_TEXT.fullmatch(text):
            yield f"Invalid security group {name}: {text!r}"
    if str(request.get("GroupName") or "").startswith("sg-"):
        yield "A security group's name must not begin with sg-"


def _rule_texts(request: Request) -> Iterator[str]:
    kinds = ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
    for permission in request.get("IpPermissions") or []:
        for source in (each for kind in kinds for each in permission.get(kind) or []):
            text = source.get("Description") or ""
            if not _GROUP_TEXT.fullmatch(text):
                yield f"Invalid rule description: {text!r}"


# ---- IAM

_POLICY_CHARACTERS = {"AssumeRolePolicyDocument": 2048, "PolicyDocument": 10240}
_MANAGED_POLICY_CHARACTERS = 6144


def _role_policies(request: Request) -> Iterator[str]:
    for name, most in _POLICY_CHARACTERS.items():
        yield from _policy(name, request, most)


def _managed_policies(request: Request) -> Iterator[str]:
    yield from _policy("PolicyDocument", request, _MANAGED_POLICY_CHARACTERS)


def _policy(name: str, request: Request, most: int) -> Iterator[str]:
    # IAM does not count white space.
    size = len(re.sub(r"\s", "", request.get(name) or ""))
    yield from _at_most(name, size, most, "characters without white space")


# ---- KMS, S3, SQS

_KEY_POLICY_BYTES = 32 * 1024
_BUCKET_POLICY_BYTES = 20 * 1024
_OBJECT_KEY_BYTES = 1024
_METADATA_BYTES = 2 * 1024


def _key_policy(request: Request) -> Iterator[str]:
    yield from _at_most("The key policy", _bytes(request.get("Policy")), _KEY_POLICY_BYTES)


def _bucket_policy(request: Request) -> Iterator[str]:
    yield from _at_most("The bucket policy", _bytes(request.get("Policy")), _BUCKET_POLICY_BYTES)


def _object_key(request: Request) -> Iterator[str]:
    yield from _at_most("The key", _bytes(request.get("Key")), _OBJECT_KEY_BYTES)


def _object_metadata(request: Request) -> Iterator[str]:
    given = request.get("Metadata") or {}
    size = sum(_bytes(f"{name}{value}") for name, value in given.items())
    yield from _at_most("The metadata of the object", size, _METADATA_BYTES)


# ---- load balancers

_BALANCER_NAME = re.compile(r"(?!-|internal-)[a-zA-Z0-9-]{1,32}(?<!-)")


def _balancer_name(request: Request) -> Iterator[str]:
    name = str(request.get("Name") or "")
    if not _BALANCER_NAME.fullmatch(name):
        yield (
            f"The name {name!r} must be 1 to 32 letters, digits and hyphens, and neither begin "
            "with a hyphen or internal-, nor end with a hyphen"
        )


# ---- EventBridge, Step Functions

_PATTERN_CHARACTERS = 2048


def _event_pattern(request: Request) -> Iterator[str]:
    size = len(request.get("EventPattern") or "")
    yield from _at_most("The event pattern", size, _PATTERN_CHARACTERS, "characters")


# Names of parameters of EMR that Step Functions reads before it has a value.
_LITERAL = ("Name.$", "Jar.$")


def _literal_step(request: Request) -> Iterator[str]:
    try:
        states = _states(json.loads(request.get("definition") or "{}"))
        for name, state in states:
            if "elasticmapreduce:addStep" not in str(state.get("Resource")):
                continue
            step = (state.get("Parameters") or {}).get("Step") or {}
            for field in {**step, **(step.get("HadoopJarStep") or {})}:
                if field in _LITERAL:
                    yield f"State {name}: {field.removesuffix('.$')} of a step cannot be a path"
    except (ValueError, AttributeError):
        return  # Step Functions itself says what is wrong with the definition.


def _states(definition: Request) -> Iterator[tuple[str, Request]]:
    """Yields name and state, those within Map and Parallel too."""
    for name, state in (definition.get("States") or {}).items():
        yield name, state
        inner = [state.get("ItemProcessor"), state.get("Iterator"), *(state.get("Branches") or [])]
        for each in inner:
            yield from _states(each or {})


_EC2 = "https://docs.aws.amazon.com/AWSEC2/latest"
_IAM = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"
_S3 = "https://docs.aws.amazon.com/AmazonS3/latest/userguide"
_ELB = "https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference"
_WRITES_OBJECT = _operations("PutObject CopyObject CreateMultipartUpload")

RULES = (
    Rule(
        "user data",
        f"{_EC2}/UserGuide/user-data.html",
        "ec2",
        _operations("CreateLaunchTemplate CreateLaunchTemplateVersion RunInstances"),
        "InvalidParameterValue",
        _user_data,
    ),
    Rule(
        "texts of security groups",
        f"{_EC2}/APIReference/API_CreateSecurityGroup.html",
        "ec2",
        _operations("CreateSecurityGroup"),
        "InvalidParameterValue",
        _group_texts,
    ),
    Rule(
        "descriptions of security group rules",
        f"{_EC2}/APIReference/API_IpRange.html",
        "ec2",
        _operations(
            "AuthorizeSecurityGroupIngress AuthorizeSecurityGroupEgress "
            "UpdateSecurityGroupRuleDescriptionsIngress UpdateSecurityGroupRuleDescriptionsEgress"
        ),
        "InvalidParameterValue",
        _rule_texts,
    ),
    Rule(
        "size of a role's policies",
        _IAM,
        "iam",
        _operations("CreateRole UpdateAssumeRolePolicy PutRolePolicy"),
        "LimitExceeded",
        _role_policies,
    ),
    Rule(
        "size of a managed policy",
        _IAM,
        "iam",
        _operations("CreatePolicy CreatePolicyVersion"),
        "LimitExceeded",
        _managed_policies,
    ),
    Rule(
        "size of a key policy",
        "https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html",
        "kms",
        _operations("CreateKey PutKeyPolicy"),
        "LimitExceededException",
        _key_policy,
    ),
    Rule(
        "size of a bucket policy",
        f"{_S3}/bucket-policies.html",
        "s3",
        _operations("PutBucketPolicy"),
        "PolicyTooLarge",
        _bucket_policy,
    ),
    Rule(
        "length of an object's key",
        f"{_S3}/object-keys.html",
        "s3",
        _WRITES_OBJECT,
        "KeyTooLongError",
        _object_key,
    ),
    Rule(
        "size of an object's metadata",
        f"{_S3}/UsingMetadata.html",
        "s3",
        _WRITES_OBJECT,
        "MetadataTooLarge",
        _object_metadata,
    ),
    Rule(
        "names of load balancers",
        f"{_ELB}/API_CreateLoadBalancer.html",
        "elbv2",
        _operations("CreateLoadBalancer"),
        "ValidationError",
        _balancer_name,
    ),
    Rule(
        "names of target groups",
        f"{_ELB}/API_CreateTargetGroup.html",
        "elbv2",
        _operations("CreateTargetGroup"),
        "ValidationError",
        _balancer_name,
    ),
    Rule(
        "length of an event pattern",
        "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html",
        "events",
        _operations("PutRule"),
        "ValidationException",
        _event_pattern,
    ),
    Rule(
        "literal name and jar of a step",
        "https://docs.aws.amazon.com/step-functions/latest/dg/connect-emr.html",
        "stepfunctions",
        _operations("CreateStateMachine UpdateStateMachine"),
        "InvalidDefinition",
        _literal_step,
    ),
)

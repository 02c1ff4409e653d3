"""Who makes a request: a role's session, a user, a service of AWS, or nobody.

Terraform, tests and LocalStack's own set-up use an account's id, or ``test``, as access key, which
stands for the account's root user: it may do everything, so its calls are not evaluated.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from localstack.aws.api import CommonServiceException, RequestContext
from localstack.constants import INTERNAL_AWS_ACCESS_KEY_ID
from localstack.utils.aws.request_context import extract_access_key_id_from_auth_header
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from localstack_emr_msk.iam.evaluation import Principal
from localstack_emr_msk.iam.policies import Names, Policy, parse_policy

_PARTITION = "aws"
_UNSIGNED = "injectedaccesskey"  # LocalStack adds it to requests without a signature
_ACCOUNT_DIGITS = 12


def principal_of(context: RequestContext) -> Principal | None:
    """Returns who makes a request, or None if its calls are not evaluated.

    Raises:
        CommonServiceException: The access key is unknown, or its session has expired.
    """
    key, token = _credentials(context)
    root = key in ("test", INTERNAL_AWS_ACCESS_KEY_ID) or _is_account(key)
    internal = context.internal_request_params or {}
    if root:
        # A service says who it is in a header. It makes a call be evaluated, never the opposite.
        service = internal.get("service_principal")
        return _service(str(service), internal.get("source_arn"), context) if service else None
    if not key or key == _UNSIGNED:
        return Principal("anonymous", Names())
    for account in list(sts_backends):
        session = sts_backends[account][_PARTITION].get_assumed_role_from_access_key(key)
        if session is not None:
            return _role(account, session, token)
    for account in list(iam_backends):
        user = iam_backends[account][_PARTITION].access_keys.get(key)
        if user is not None and user.user_name:
            return _user(account, user.user_name)
    raise _invalid("InvalidClientTokenId", "The security token included in the request is invalid.")


def _is_account(key: str) -> bool:
    return len(key) == _ACCOUNT_DIGITS and key.isdecimal()


def _credentials(context: RequestContext) -> tuple[str, str | None]:
    """Returns access key and session token: of a presigned address, a form or the headers."""
    request = context.request
    sources: list[Mapping[str, str]] = [request.args]
    if context.operation is not None and context.operation.name == "PostObject":
        sources.append(request.form)
    for given in sources:
        fields = {name.lower(): value for name, value in given.items()}
        if "x-amz-credential" in fields:
            return fields["x-amz-credential"].split("/")[0], fields.get("x-amz-security-token")
        if "awsaccesskeyid" in fields:
            return fields["awsaccesskeyid"], fields.get("x-amz-security-token")
    key = extract_access_key_id_from_auth_header(request.headers)
    return key or "", request.headers.get("X-Amz-Security-Token")


def _service(name: str, source: str | None, context: RequestContext) -> Principal:
    host = f"{name}.amazonaws.com"
    known = {"aws:principalisawsservice": ("true",), "aws:principalservicename": (host,)}
    if source:
        # The ARN of a bucket has no account; buckets of others send no events here.
        account = source.split(":")[4] or context.account_id
        known |= {"aws:sourcearn": (source,), "aws:sourceaccount": (account,)}
    return Principal(host, Names(service=host), context=known)


def _role(account: str, session: Any, token: str | None) -> Principal:
    if session.session_token != token:
        raise _invalid(
            "InvalidClientTokenId", "The security token included in the request is invalid."
        )
    if session.expiration.replace(tzinfo=UTC) < datetime.now(UTC):
        raise _invalid("ExpiredToken", "The security token included in the request is expired.")
    iam = iam_backends[account][_PARTITION]
    try:
        role = iam.get_role_by_arn(session.role_arn)
    except Exception:  # moto's error of a role that was deleted
        return Principal(session.arn, Names(session.arn, session.role_arn, account))
    boundary = role.permissions_boundary_arn
    return Principal(
        session.arn,
        Names(session.arn, role.arn, account),
        _policies(role),
        boundary=next(iter(_managed([iam.get_policy(boundary)])), None) if boundary else None,
        session=parse_policy("session", session.policy) if session.policy else None,
        context={
            "aws:principalarn": (role.arn,),
            "aws:principalaccount": (account,),
            "aws:principaltype": ("AssumedRole",),
            "aws:principalisawsservice": ("false",),
            "aws:userid": (session.user_id,),
            **{f"aws:principaltag/{k}".lower(): (v,) for k, v in _tags(role.tags).items()},
        },
    )


def _user(account: str, name: str) -> Principal:
    iam = iam_backends[account][_PARTITION]
    user = iam.get_user(name)
    holders = (user, *iam.get_groups_for_user(name))
    return Principal(
        user.arn,
        Names(user.arn, "", account),
        [policy for holder in holders for policy in _policies(holder)],
        context={
            "aws:principalarn": (user.arn,),
            "aws:principalaccount": (account,),
            "aws:principaltype": ("User",),
            "aws:principalisawsservice": ("false",),
            "aws:username": (name,),
        },
    )


def _policies(holder: Any) -> list[Policy]:
    """Parses the inline and managed policies of a role, user or group."""
    inline = [parse_policy(f"{holder.name}/{k}", _text(v)) for k, v in holder.policies.items()]
    return [*inline, *_managed(holder.managed_policies.values())]


def _managed(policies: Iterable[Any]) -> list[Policy]:
    """Parses the default versions of managed policies."""
    return [
        parse_policy(policy.name, _text(version.document))
        for policy in policies
        for version in policy.versions
        if version.is_default
    ]


def _text(document: Any) -> str:
    return document if isinstance(document, str) else json.dumps(document)


def _tags(tags: Any) -> dict[str, str]:
    """Moto keeps a list until TagRole is called, and then a dictionary of dictionaries."""
    given = tags.values() if isinstance(tags, dict) else tags or ()
    return {each["Key"]: each["Value"] for each in given}


def _invalid(code: str, message: str) -> CommonServiceException:
    return CommonServiceException(code, message, status_code=403, sender_fault=True)

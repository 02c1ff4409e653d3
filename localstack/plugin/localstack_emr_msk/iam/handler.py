"""Evaluates each request before its service gets it."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from localstack.aws.api import RequestContext, ServiceException
from localstack.aws.chain import HandlerChain
from localstack.http import Response

from localstack_emr_msk.iam.actions import permissions
from localstack_emr_msk.iam.cloud import Call, Cloud
from localstack_emr_msk.iam.denials import denial, message
from localstack_emr_msk.iam.evaluation import Decision, Principal, evaluate
from localstack_emr_msk.iam.patterns import Context
from localstack_emr_msk.iam.policies import Needed
from localstack_emr_msk.iam.principals import principal_of
from localstack_emr_msk.iam.report import Report

_LOG = logging.getLogger(__name__)
_LOOPBACK = ("127.0.0.1", "::1")
# The attribute of a request's context with the keys that DeleteObjects may not delete.
DENIED_OBJECTS = "denied_objects"


class Mode(Enum):
    """What happens to calls that no policy allows."""

    OFF = "off"  # nothing is evaluated
    LOG = "log"  # they are reported
    ENFORCE = "enforce"  # they are refused


class PermissionHandler:
    """A handler of LocalStack's chain."""

    def __init__(self, cloud: Cloud, report: Report, mode: Mode) -> None:
        self._cloud = cloud
        self._report = report
        self._enforces = mode is Mode.ENFORCE

    def __call__(self, chain: HandlerChain, context: RequestContext, response: Response) -> None:
        """Raises the service's error if the caller lacks a permission."""
        if context.service is None or context.operation is None:
            return
        try:
            self._check(context)
        except ServiceException as error:
            if self._enforces:
                raise
            _LOG.warning("%s", error)
        except Exception as error:
            # A call that cannot be evaluated is refused, never let through.
            _LOG.exception("%s cannot be evaluated", context.operation.name)
            if self._enforces:
                raise denial(context, f"The permissions cannot be evaluated: {error}") from None

    def _check(self, context: RequestContext) -> None:
        principal = principal_of(context)
        if principal is None:
            return
        call = Call(
            context.service.service_name,
            context.operation.name,
            context.service_request or {},
            context.region,
            context.account_id,
        )
        keys = {**_request_keys(context), **principal.context}
        found = list(self._decisions(principal, call, keys))
        denied = [(needed, decision) for needed, decision in found if not decision.allowed]
        if denied and call.operation == "DeleteObjects" and self._enforces:
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html: key by key.
            setattr(context, DENIED_OBJECTS, {_key_of(needed) for needed, _ in denied})
        elif denied:
            raise denial(context, message(principal, *denied[0]))

    def _decisions(
        self, principal: Principal, call: Call, keys: Context
    ) -> Iterable[tuple[Needed, Decision]]:
        for each in permissions(call, self._cloud):
            needed = replace(each, context={**keys, **_seen_by(principal, each.context)})
            decision = evaluate(principal, needed, self._cloud.policy(needed.resource))
            self._report.add(principal, call, needed, decision)
            yield needed, decision
            if not decision.allowed and call.operation != "DeleteObjects":
                return


def _key_of(needed: Needed) -> str:
    return needed.resource.removeprefix("arn:aws:s3:::").partition("/")[2]


def _seen_by(principal: Principal, context: Context) -> Context:
    """Leaves out the keys of KMS that describe a caller who is not a service."""
    if not principal.names.service:
        return context
    return {
        name: values
        for name, values in context.items()
        if name not in ("kms:viaservice", "kms:calleraccount")
    }


def _request_keys(context: RequestContext) -> Context:
    """Returns the condition keys of any request.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    request: Any = context.request
    address = request.remote_addr or _LOOPBACK[0]
    # What does not leave this machine needs no TLS.
    secure = request.scheme == "https" or address in _LOOPBACK
    found: Mapping[str, str] = {
        "aws:securetransport": "true" if secure else "false",
        "aws:sourceip": address,
        "aws:requestedregion": context.region,
        "aws:useragent": request.headers.get("User-Agent", ""),
        "aws:currenttime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:epochtime": str(int(time.time())),
        "aws:viaawsservice": "false",
    }
    return {name: (value,) for name, value in found.items()}

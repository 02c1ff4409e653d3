"""Adds the rules to LocalStack: a request that breaks one gets AWS's error and goes no further."""

from typing import Any

from localstack.aws.api import CommonServiceException, RequestContext
from localstack.aws.handlers import serve_custom_service_request_handlers

from localstack_emr_msk.rules.documented import broken_rules
from localstack_emr_msk.rules.model import message, violations

_CODES = {"query": "ValidationError", "ec2": "InvalidParameterValue"}
_OWN_CODES = {"kafka": "BadRequestException"}


def add_rules() -> None:
    """Checks each request after it is parsed and before its service gets it."""
    serve_custom_service_request_handlers.append(check_request)


def check_request(_: Any, context: RequestContext, __: Any) -> None:
    """Raises AWS's error for a request that breaks a rule; LocalStack's own calls pass."""
    operation = context.operation
    if operation is None or context.is_internal_call:
        return
    service, request = context.service.service_name, context.service_request or {}
    # Only request lines and headers of S3 are parsed here; S3 has hardly any constraints.
    shape = operation.input_shape if service != "s3" else None
    found = list(violations(shape, request)) if shape is not None else []
    if found:
        code = _OWN_CODES.get(service) or _CODES.get(
            context.service.protocol, "ValidationException"
        )
        raise _refusal(code, message(found), service)
    for rule, why in broken_rules(service, operation.name, request):
        raise _refusal(rule.code, f"{why} ({rule.name}: {rule.source})", service)


def _refusal(code: str, text: str, service: str) -> CommonServiceException:
    # S3's errors do not say whose fault they are.
    return CommonServiceException(code, text, status_code=400, sender_fault=service != "s3")

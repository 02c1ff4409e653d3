"""Turns a provider of this package into a LocalStack service."""

from typing import Any

from botocore import xform_name
from localstack.aws.api import CommonServiceException, RequestContext
from localstack.aws.skeleton import DispatchTable, Skeleton
from localstack.aws.spec import load_service
from localstack.services.moto import call_moto
from localstack.services.plugins import Service

from localstack_emr_msk.calls import Caller, Response
from localstack_emr_msk.errors import ServiceError


def service_of(name: str, provider: object) -> Service:
    """Returns the service; operations that the provider lacks get status 501."""
    return Service(name=name, skeleton=Skeleton(load_service(name), table_of(name, provider)))


def table_of(name: str, provider: object) -> DispatchTable:
    """Returns the provider's operations by their API names."""
    table: DispatchTable = {}
    for operation in load_service(name).operation_names:
        method = getattr(provider, xform_name(operation), None)
        if method is not None:
            table[operation] = _handler(method)
    return table


def moto_service(name: str) -> Service:
    """Returns a service that the free LocalStack leaves out, although its moto has it."""

    def handle(context: RequestContext, request: dict[str, Any] | None) -> Any:
        return call_moto(context)

    model = load_service(name)
    return Service(
        name=name, skeleton=Skeleton(model, dict.fromkeys(model.operation_names, handle))
    )


def _handler(method: Any) -> Any:
    def handle(context: RequestContext, request: dict[str, Any] | None) -> Response:
        caller = Caller(context.account_id, context.region)
        try:
            answer: Response = method(caller, request or {})
        except ServiceError as error:
            raise CommonServiceException(
                error.code, error.message, status_code=error.status, sender_fault=True
            ) from None
        return answer

    return handle

"""Executions assume their state machine's role as that state machine.

LocalStack does not say which one it is, and trust policies ask: aws:SourceArn.
https://docs.aws.amazon.com/step-functions/latest/dg/procedure-create-iam-role.html
"""

import functools
from contextvars import ContextVar
from typing import Any

from localstack.aws.connect import connect_to
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service.state_task_service import (
    StateTaskService,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.utils import boto_client
from localstack.utils.aws.client_types import ServicePrincipal

_state_machine: ContextVar[str] = ContextVar("state_machine", default="")


def name_state_machine() -> None:
    """Makes AssumeRole name the state machine for which it is called."""
    run = StateTaskService._eval_execution

    @functools.wraps(run)
    def run_for_state_machine(self: Any, env: Environment) -> None:
        data = env.states.context_object.context_object_data
        token = _state_machine.set(data["StateMachine"]["Id"])
        try:
            run(self, env)
        finally:
            _state_machine.reset(token)

    StateTaskService._eval_execution = run_for_state_machine
    boto_client.connect_to = _Connect()


class _Connect:
    """Replaces LocalStack's factory of clients in the interpreter, which uses one method."""

    def with_assumed_role(
        self, *, role_arn: str, service_principal: str, region_name: str, config: Any
    ) -> Any:
        sts = connect_to(region_name=region_name, config=config).sts.request_metadata(
            service_principal=ServicePrincipal.states, source_arn=_state_machine.get()
        )
        made = sts.assume_role(RoleArn=role_arn, RoleSessionName="execution")["Credentials"]
        return connect_to(
            region_name=region_name,
            aws_access_key_id=made["AccessKeyId"],
            aws_secret_access_key=made["SecretAccessKey"],
            aws_session_token=made["SessionToken"],
            config=config,
        )

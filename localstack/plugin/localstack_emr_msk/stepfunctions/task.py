"""The state of LocalStack's interpreter that runs an ``elasticmapreduce`` task."""

import copy
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from localstack.aws.api.stepfunctions import HistoryEventType, TaskFailedEventDetails
from localstack.services.stepfunctions.asl.component.common.error_name.custom_error_name import (
    CustomErrorName,
)
from localstack.services.stepfunctions.asl.component.common.error_name.error_name import ErrorName
from localstack.services.stepfunctions.asl.component.common.error_name.failure_event import (
    FailureEvent,
    FailureEventException,
)
from localstack.services.stepfunctions.asl.component.common.error_name.states_error_name import (
    StatesErrorName,
)
from localstack.services.stepfunctions.asl.component.common.error_name.states_error_name_type import (
    StatesErrorNameType,
)
from localstack.services.stepfunctions.asl.component.common.payload.payloadvalue.payloadarr.payload_arr import (
    PayloadArr,
)
from localstack.services.stepfunctions.asl.component.common.payload.payloadvalue.payloadtmpl.payload_tmpl import (
    PayloadTmpl,
)
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.credentials import (
    StateCredentials,
)
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service.resource import (
    ResourceCondition,
    ResourceRuntimePart,
)
from localstack.services.stepfunctions.asl.component.state.state_execution.state_task.service.state_task_service_callback import (
    StateTaskServiceCallback,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.eval.event.event_detail import EventDetails
from localstack.services.stepfunctions.asl.utils.boto_client import boto_client_for
from localstack.services.stepfunctions.asl.utils.encoding import to_json_str

from localstack_emr_msk.calls import Request, Response
from localstack_emr_msk.stepfunctions.actions import (
    ACTIONS,
    Action,
    WaitError,
    error_cause,
    error_name,
    missing_parameters,
)
from localstack_emr_msk.stepfunctions.fields import unsupported_fields

# Step Functions polls each minute; here calls are not limited.
_POLL_SECONDS = 0.3


class EmrTask(StateTaskServiceCallback):  # type: ignore[misc]  # LocalStack has no types
    """A task of ``arn:aws:states:::elasticmapreduce:…``."""

    def __init__(self) -> None:
        # LocalStack 4.13 ends each .sync by interrupting the endpoint that waits for a task token,
        # and creates one only if tokens are supported. They are rejected below.
        super().__init__(
            supported_integration_patterns={
                ResourceCondition.Sync,
                ResourceCondition.WaitForTaskToken,
            }
        )

    # ---- when the state machine is created

    def _get_supported_parameters(self) -> set[str] | None:
        action = ACTIONS.get(self.resource.api_action)
        return set(action.parameters) if action else None

    def _validate_service_integration_is_supported(self) -> None:
        super()._validate_service_integration_is_supported()
        waits = self.action.poll is not None
        allowed = {None, ResourceCondition.Sync} if waits else {None}
        if self.resource.condition not in allowed:
            raise ValueError(
                f"The resource provided {self.resource.resource_arn} not recognized. The value is "
                "not a valid resource ARN, or the resource is not available in this region."
            )
        # LocalStack would only leave them out when the state runs.
        given = _field_names(self.parargs.template_eval_component) if self.parargs else None
        for name in unsupported_fields(given, self.action.parameters):
            raise ValueError(
                f"SCHEMA_VALIDATION_FAILED: The field {name!r} is not supported by Step Functions"
            )

    @property
    def action(self) -> Action:
        """The action of the state."""
        return ACTIONS[self.resource.api_action]

    # ---- when it runs

    def _normalise_parameters(self, *_: object, **__: object) -> None:
        """Leaves parameters as they are: the integration uses the API's own names."""

    def _normalise_response(self, *_: object, **__: object) -> None:
        """Leaves the response as it is, for the same reason."""

    def _eval_service_task(
        self,
        env: Environment,
        resource_runtime_part: ResourceRuntimePart,
        normalised_parameters: dict[str, Any],
        state_credentials: StateCredentials,
    ) -> None:
        given = copy.deepcopy(normalised_parameters)
        lacking = missing_parameters(self.resource.api_action, given)
        if lacking:
            cause = f"The Parameters field lacks {', '.join(lacking)}"
            raise self.failure(env, StatesErrorNameType.StatesRuntime, cause)
        client = _client(resource_runtime_part, state_credentials)
        env.stack.append(self.action.call(client, given))

    def _build_sync_resolver(
        self,
        env: Environment,
        resource_runtime_part: ResourceRuntimePart,
        normalised_parameters: dict[str, Any],
        state_credentials: StateCredentials,
    ) -> Callable[[], Response | None]:
        client = _client(resource_runtime_part, state_credentials)
        return _Wait(self, env, client, normalised_parameters, env.stack.pop())

    def _eval_sync(
        self,
        env: Environment,
        sync_resolver: Callable[[], Response | None],
        timeout_seconds: int | None,
        callback_endpoint: object,
        heartbeat_endpoint: object,
    ) -> Response | None:
        while env.is_running():
            answer = sync_resolver()
            if answer is not None:
                return answer
            time.sleep(_POLL_SECONDS)
        # The execution was stopped or the state has timed out, so its work must end.
        assert isinstance(sync_resolver, _Wait)
        sync_resolver.undo()
        return None

    # ---- when it fails

    def _from_error(self, env: Environment, ex: Exception) -> FailureEvent:
        if isinstance(ex, ClientError):
            name = error_name(str(ex.response["Error"]["Code"]))
            return self._event(env, CustomErrorName(name), name, error_cause(ex.response))
        return super()._from_error(env=env, ex=ex)

    def failure(
        self, env: Environment, kind: StatesErrorNameType, cause: str
    ) -> FailureEventException:
        """Returns an error of Step Functions itself."""
        event = self._event(env, StatesErrorName(typ=kind), kind.to_name(), cause)
        return FailureEventException(event)

    def _event(self, env: Environment, name: ErrorName, error: str, cause: str) -> FailureEvent:
        return FailureEvent(
            env=env,
            error_name=name,
            event_type=HistoryEventType.TaskFailed,
            event_details=EventDetails(
                taskFailedEventDetails=TaskFailedEventDetails(
                    error=error,
                    cause=cause,
                    resource=self._get_sfn_resource(),
                    resourceType=self._get_sfn_resource_type(),
                )
            ),
        )


def _field_names(value: object) -> object:
    """Returns objects and lists of a state's parameters, with None in place of other values."""
    if isinstance(value, PayloadTmpl):
        return {
            each.field: _field_names(getattr(each, "payload_value", None))
            for each in value.payload_bindings
        }
    if isinstance(value, PayloadArr):
        return [_field_names(each) for each in value.payload_values]
    return None


class _Wait:
    """Waits for the end of a .sync; iterations of a Map share the state, but not this object."""

    def __init__(
        self, task: EmrTask, env: Environment, client: Any, given: Request, submitted: Response
    ) -> None:
        self._task, self._env, self._client = task, env, client
        self._given, self._submitted = given, submitted

    def __call__(self) -> Response | None:
        """Returns the result once there is one; raises if the cluster or step failed."""
        poll = self._task.action.poll
        assert poll is not None
        try:
            return poll(self._client, self._given, self._submitted)
        except WaitError as failed:
            kind = StatesErrorNameType.StatesTaskFailed
            raise self._task.failure(self._env, kind, to_json_str(failed.cause)) from None

    def undo(self) -> None:
        """Stops the step or cluster, ignoring errors."""
        undo = self._task.action.undo
        if undo is not None:
            with suppress(ClientError, BotoCoreError):
                undo(self._client, self._given, self._submitted)


def _client(part: ResourceRuntimePart, credentials: StateCredentials) -> Any:
    return boto_client_for(service="emr", region=part.region, state_credentials=credentials)

"""Adds EMR's tasks to LocalStack's interpreter."""

import functools
from collections.abc import Callable
from typing import Any

from localstack.services.stepfunctions.asl.component.state.state_execution.state_task import (
    state_task_factory as factory,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.eval.program_state import ProgramStopped

from localstack_emr_msk.stepfunctions.events import use_aws_event_format
from localstack_emr_msk.stepfunctions.paths import cache_paths
from localstack_emr_msk.stepfunctions.roles import name_state_machine
from localstack_emr_msk.stepfunctions.task import EmrTask

_MARK = "_supports_emr"


def register_emr() -> None:
    """Makes the interpreter use ``EmrTask`` for the service ``elasticmapreduce``.

    Also fixes its handling of a stopped Map, its events and how it assumes roles, and caches its
    paths.
    """
    known = factory.state_task_service_for
    if hasattr(known, _MARK):
        return

    @functools.wraps(known)
    def task_for(service_name: str) -> Any:
        return EmrTask() if service_name == "elasticmapreduce" else known(service_name)

    setattr(task_for, _MARK, True)
    factory.state_task_service_for = task_for
    Environment.set_error = _unless_stopped(Environment.set_error)
    use_aws_event_format()
    name_state_machine()
    cache_paths()


def _unless_stopped(set_error: Callable[..., None]) -> Callable[..., None]:
    """Ignores the error with which a stopped Map ends; 4.13 would make it a failed execution."""

    @functools.wraps(set_error)
    def set_error_unless_stopped(env: Environment, error: Any) -> None:
        if not isinstance(env.program_state(), ProgramStopped):
            set_error(env, error)

    return set_error_unless_stopped

"""Puts EMR's tasks into LocalStack's interpreter."""

import functools
from collections.abc import Callable
from typing import Any

from localstack.services.stepfunctions.asl.component.state.state_execution.state_task import (
    state_task_factory as factory,
)
from localstack.services.stepfunctions.asl.eval.environment import Environment
from localstack.services.stepfunctions.asl.eval.program_state import ProgramStopped

from localstack_emr_msk.stepfunctions.events import tell_as_aws
from localstack_emr_msk.stepfunctions.paths import remember
from localstack_emr_msk.stepfunctions.task import EmrTask

_MARK = "_knows_emr"


def teach() -> None:
    """Has the interpreter make our task for the service ``elasticmapreduce``.

    Also mends what it gets wrong about a stopped Map and in its events, and what makes it slow.
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
    tell_as_aws()
    remember()


def _unless_stopped(set_error: Callable[..., None]) -> Callable[..., None]:
    """A Map that is stopped ends as an error, of which 4.13 would make a failed execution."""

    @functools.wraps(set_error)
    def guarded(env: Environment, error: Any) -> None:
        if not isinstance(env.program_state(), ProgramStopped):
            set_error(env, error)

    return guarded

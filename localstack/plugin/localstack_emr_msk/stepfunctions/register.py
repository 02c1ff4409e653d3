"""Puts EMR's tasks into LocalStack's interpreter."""

import functools
from typing import Any

from localstack.services.stepfunctions.asl.component.state.state_execution.state_task import (
    state_task_factory as factory,
)

from localstack_emr_msk.stepfunctions.task import EmrTask

_MARK = "_knows_emr"


def teach() -> None:
    """Has the interpreter make our task for the service ``elasticmapreduce``."""
    known = factory.state_task_service_for
    if hasattr(known, _MARK):
        return

    @functools.wraps(known)
    def task_for(service_name: str) -> Any:
        return EmrTask() if service_name == "elasticmapreduce" else known(service_name)

    setattr(task_for, _MARK, True)
    factory.state_task_service_for = task_for

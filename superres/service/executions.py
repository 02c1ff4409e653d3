"""The state machine's executions, for all who list and start them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient


NEW_IMAGES = "new-images-"
"""Begins the names of the executions that new images start; a number follows."""


@dataclass(frozen=True)
class ListedExecution:
    """An execution, as Step Functions lists it."""

    arn: str
    name: str
    started_at: datetime
    status: str = "RUNNING"
    ended_at: datetime | None = None


def list_executions(
    stepfunctions: "SFNClient", state_machine: str, status: str | None = None
) -> Iterator[ListedExecution]:
    """Yields all executions, or those of one status, the latest first.

    The list may lack an execution that has just been started:
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_ListExecutions.html
    """
    wanted: Any = {"statusFilter": status} if status else {}
    for page in stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=state_machine, **wanted
    ):
        for each in page["executions"]:
            yield ListedExecution(
                each["executionArn"],
                each["name"],
                each["startDate"],
                each["status"],
                each.get("stopDate"),
            )


def start_execution(
    stepfunctions: "SFNClient", state_machine: str, name: str, content: Mapping[str, Any]
) -> ListedExecution | None:
    """Starts an execution; None if its name has been used in the last 90 days.

    If one of the same name and input is running, that one is returned instead:
    https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
    """
    try:
        started = stepfunctions.start_execution(
            stateMachineArn=state_machine, name=name, input=json.dumps(content)
        )
    except stepfunctions.exceptions.ExecutionAlreadyExists:
        return None
    return ListedExecution(started["executionArn"], name, started["startDate"])

"""The executions that new images start, named ``new-images-1``, ``new-images-2`` and so on.

The numbers keep instances from starting two at once: whoever starts number n has seen n - 1 end,
and Step Functions accepts each name once. So it does no harm that its lists are sometimes late.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ingestion.starts.calls import calling
from superres.service.executions import ListedExecution, list_executions, start_execution

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

PREFIX = "new-images-"


@dataclass(frozen=True)
class Started:
    """An execution that new images started."""

    number: int
    started_at: datetime
    run_ids: frozenset[str]


@dataclass(frozen=True)
class Situation:
    """What runs now, whoever started it, and the latest execution that new images started."""

    running: bool
    latest: Started | None

    @property
    def next_number(self) -> int:
        """The number of the next execution."""
        return self.latest.number + 1 if self.latest else 1


class Executions:
    """Looks at the executions of a state machine, and starts them."""

    def __init__(self, client: "SFNClient", state_machine: str) -> None:
        self._client = client
        self._state_machine = state_machine
        self._known: tuple[int, ListedExecution] | None = None

    def look(self) -> Situation:
        """Asks Step Functions what runs and what was started last."""
        with calling("Step Functions"):
            listed = list_executions(self._client, self._state_machine, "RUNNING")
            running = next(listed, None) is not None
            latest = self._latest()
            if latest is None:
                return Situation(running, None)
            number, execution = latest
            # A list may be late, so the one that matters is asked for by its name.
            described = self._client.describe_execution(executionArn=execution.arn)
        running = running or described["status"] == "RUNNING"
        run_ids = _run_ids(described.get("input", "{}"))
        return Situation(running, Started(number, described["startDate"], run_ids))

    def start(self, number: int, run_ids: frozenset[str]) -> Started | None:
        """Starts an execution for some runs; None if another instance has started this number."""
        content = {"run_ids": sorted(run_ids)}
        with calling("Step Functions"):
            started = start_execution(
                self._client, self._state_machine, f"{PREFIX}{number}", content
            )
        if started is None:
            return None
        self._known = number, started
        return Started(number, started.started_at, run_ids)

    def _latest(self) -> tuple[int, ListedExecution] | None:
        for execution in list_executions(self._client, self._state_machine):
            number = execution.name.removeprefix(PREFIX)
            if number != execution.name and number.isdecimal():
                if self._known is None or int(number) >= self._known[0]:
                    self._known = int(number), execution
                break
        return self._known


def _run_ids(text: str) -> frozenset[str]:
    content = json.loads(text)
    named = content.get("run_ids") if isinstance(content, dict) else None
    return frozenset(map(str, named)) if isinstance(named, list) else frozenset()

"""The executions that new images start, named ``new-images-1``, ``new-images-2`` and so on.

The numbers keep instances from starting two at once: whoever starts number n has seen n - 1 end,
and Step Functions accepts each name once. So it does no harm that its lists are sometimes late.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import TYPE_CHECKING

from ingestion.starts.calls import calling
from superres.service.executions import (
    NEW_IMAGES,
    ListedExecution,
    list_executions,
    start_execution,
)

if TYPE_CHECKING:
    from types_boto3_stepfunctions import SFNClient

# How many are looked at: enough for the longest pause, and for a message that another instance's
# executions have overtaken.
_RECENT = 10
_PAGE = 100  # of a list; for older ones than these nobody asks Step Functions again


@dataclass(frozen=True)
class Started:
    """An execution that new images started.

    Attributes:
        number: the one in its name.
        started_at: when it began.
        run_ids: the runs in its input.
        status: as Step Functions has it.
        ended_at: when it ended; None while it runs.
    """

    number: int
    started_at: datetime
    run_ids: frozenset[str]
    status: str = "RUNNING"
    ended_at: datetime | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended without success, by itself or because a person stopped it."""
        return self.ended_at is not None and self.status != "SUCCEEDED"

    def has_processed(self, run_ids: frozenset[str], stored_by: datetime) -> bool:
        """Whether it succeeded and began after images of these runs were stored."""
        began_later = stored_by <= self.started_at
        return self.status == "SUCCEEDED" and began_later and run_ids <= self.run_ids


@dataclass(frozen=True)
class Situation:
    """What runs now, whoever started it, and what new images started recently, the latest first."""

    running: bool
    recent: tuple[Started, ...] = ()

    @property
    def latest(self) -> Started | None:
        """The latest execution that new images started."""
        return self.recent[0] if self.recent else None

    @property
    def next_number(self) -> int:
        """The number of the next execution."""
        return self.recent[0].number + 1 if self.recent else 1

    @property
    def failures(self) -> int:
        """How many executions have failed since the last success."""
        return sum(1 for _ in takewhile(lambda each: each.failed, self.recent))


class Executions:
    """Looks at the executions of a state machine, and starts them."""

    def __init__(self, client: "SFNClient", state_machine: str) -> None:
        self._client = client
        self._state_machine = state_machine
        self._known: tuple[int, ListedExecution] | None = None
        self._run_ids: dict[int, frozenset[str]] = {}

    def look(self) -> Situation:
        """Asks Step Functions what runs, and how that went which was started last."""
        with calling("Step Functions"):
            listed = list_executions(self._client, self._state_machine, "RUNNING")
            running = next(listed, None) is not None
            found = self._recent()
            if not found:
                return Situation(running)
            # A list may be late, so the one that matters is asked for by its name.
            latest = self._describe(*found[0])
            earlier = [self._with_run_ids(*each) for each in found[1:]]
        self._run_ids = {each.number: each.run_ids for each in (latest, *earlier)}
        return Situation(running or latest.status == "RUNNING", (latest, *earlier))

    def start(self, number: int, run_ids: frozenset[str]) -> Started | None:
        """Starts an execution for some runs; None if another instance has started this number."""
        content = {"run_ids": sorted(run_ids)}
        with calling("Step Functions"):
            started = start_execution(
                self._client, self._state_machine, f"{NEW_IMAGES}{number}", content
            )
        if started is None:
            return None
        self._known = number, started
        return Started(number, started.started_at, run_ids)

    def _recent(self) -> Sequence[tuple[int, ListedExecution]]:
        """Returns the latest numbers, each with its execution; the first may be in no list yet."""
        found: list[tuple[int, ListedExecution]] = []
        for position, execution in enumerate(
            list_executions(self._client, self._state_machine), start=1
        ):
            number = execution.name.removeprefix(NEW_IMAGES)
            if number != execution.name and number.isdecimal():
                found.append((int(number), execution))
            if len(found) == _RECENT or (found and position >= _PAGE):
                break
        if found and (self._known is None or found[0][0] >= self._known[0]):
            self._known = found[0]
        elif self._known is not None:
            found = [self._known, *(each for each in found if each[0] < self._known[0])]
        return found

    def _describe(self, number: int, execution: ListedExecution) -> Started:
        found = self._client.describe_execution(executionArn=execution.arn)
        run_ids = _run_ids(found.get("input", "{}"))
        return Started(number, found["startDate"], run_ids, found["status"], found.get("stopDate"))

    def _with_run_ids(self, number: int, execution: ListedExecution) -> Started:
        """Asks for what no list has, the input, only once; a redrive may change the rest."""
        run_ids = self._run_ids.get(number)
        if run_ids is None:
            return self._describe(number, execution)
        return Started(number, execution.started_at, run_ids, execution.status, execution.ended_at)


def _run_ids(text: str) -> frozenset[str]:
    content = json.loads(text)
    named = content.get("run_ids") if isinstance(content, dict) else None
    return frozenset(map(str, named)) if isinstance(named, list) else frozenset()

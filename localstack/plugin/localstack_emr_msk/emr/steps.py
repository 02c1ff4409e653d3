"""A step: what was asked for and how it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localstack_emr_msk.calls import Response, now, present
from localstack_emr_msk.emr.fleets import identifier
from localstack_emr_msk.emr.machine import Task

OVER = frozenset({"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"})


@dataclass
class Step:
    """A step of a cluster; the cluster's lock guards it."""

    config: Mapping[str, Any]
    role: str | None = None
    id: str = field(default_factory=lambda: identifier("s-"))
    state: str = "PENDING"
    reason: str = ""
    failure: dict[str, str] | None = None
    created: datetime = field(default_factory=now)
    started: datetime | None = None
    ended: datetime | None = None
    task: Task | None = None

    @property
    def jar(self) -> str:
        """What runs it."""
        return str(self.config["HadoopJarStep"]["Jar"])

    @property
    def arguments(self) -> list[str]:
        """With what it runs."""
        return list(self.config["HadoopJarStep"].get("Args") or [])

    @property
    def on_failure(self) -> str:
        """TERMINATE_CLUSTER, CANCEL_AND_WAIT or CONTINUE."""
        action = self.config.get("ActionOnFailure") or "TERMINATE_CLUSTER"
        return "TERMINATE_CLUSTER" if action == "TERMINATE_JOB_FLOW" else str(action)

    def cancel(self, why: str) -> bool:
        """Begins to cancel it; tells whether there was anything to cancel."""
        if self.state == "PENDING":
            self.state, self.ended, self.reason = "CANCELLED", now(), why
            return True
        if self.state == "RUNNING":
            self.state, self.reason = "CANCEL_PENDING", why
        if self.state == "CANCEL_PENDING":
            if self.task is not None:
                self.task.stop()
            return True
        return False

    def end(self, code: int | None, message: str, log: str | None) -> None:
        """What became of it: its exit status, None when it could not begin."""
        self.ended, self.task = now(), None
        if self.state == "CANCEL_PENDING":
            self.state = "CANCELLED"
        elif code == 0:
            self.state = "COMPLETED"
        else:
            self.state = "FAILED"
            self.failure = present(
                {
                    "Reason": "Unknown Error." if code is not None else "The step cannot begin.",
                    "Message": message,
                    "LogFile": f"{log}/stderr.gz" if log else None,
                }
            )

    def view(self) -> Response:
        """As DescribeStep tells it."""
        jar = self.config["HadoopJarStep"]
        timeline = {
            "CreationDateTime": self.created,
            "StartDateTime": self.started,
            "EndDateTime": self.ended,
        }
        return present(
            {
                "Id": self.id,
                "Name": self.config["Name"],
                "Config": present(
                    {
                        "Jar": self.jar,
                        "Args": self.arguments,
                        "MainClass": jar.get("MainClass"),
                        "Properties": {
                            each["Key"]: each.get("Value", "")
                            for each in jar.get("Properties") or []
                        },
                    }
                ),
                "ActionOnFailure": self.on_failure,
                "Status": present(
                    {
                        "State": self.state,
                        "StateChangeReason": {"Message": self.reason} if self.reason else {},
                        "FailureDetails": self.failure,
                        "Timeline": present(timeline),
                    }
                ),
                "ExecutionRoleArn": self.role,
            }
        )

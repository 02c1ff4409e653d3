"""A step: its configuration and state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localstack_emr_msk.calls import Response, now, present
from localstack_emr_msk.emr.fleets import identifier
from localstack_emr_msk.emr.machine import Task

FINAL_STATES = frozenset({"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"})


@dataclass
class Step:
    """A step of a cluster, whose lock must be held to change it."""

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
        """The jar that runs it."""
        return str(self.config["HadoopJarStep"]["Jar"])

    @property
    def arguments(self) -> list[str]:
        """The arguments of the jar."""
        return list(self.config["HadoopJarStep"].get("Args") or [])

    @property
    def on_failure(self) -> str:
        """TERMINATE_CLUSTER, CANCEL_AND_WAIT or CONTINUE."""
        action = self.config.get("ActionOnFailure") or "TERMINATE_CLUSTER"
        return "TERMINATE_CLUSTER" if action == "TERMINATE_JOB_FLOW" else str(action)

    def cancel(self, reason: str) -> bool:
        """Starts to cancel it; returns whether it could still be cancelled."""
        if self.state == "PENDING":
            self.state, self.ended, self.reason = "CANCELLED", now(), reason
            return True
        if self.state == "RUNNING":
            self.state, self.reason = "CANCEL_PENDING", reason
        if self.state == "CANCEL_PENDING":
            if self.task is not None:
                self.task.stop()
            return True
        return False

    def end(self, code: int | None, message: str, log: str | None) -> None:
        """Records its end: the exit status, or None if it could not start."""
        self.ended, self.task = now(), None
        if self.state == "CANCEL_PENDING":
            self.state = "CANCELLED"
        elif code == 0:
            self.state = "COMPLETED"
        else:
            self.state = "FAILED"
            self.failure = present(
                {
                    "Reason": "Unknown Error." if code is not None else "The step cannot start.",
                    "Message": message,
                    "LogFile": f"{log}/stderr.gz" if log else None,
                }
            )

    def view(self) -> Response:
        """Returns the response of DescribeStep."""
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

"""The report: a file with a line of JSON for each permission that was evaluated."""

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localstack_emr_msk.iam.cloud import Call
from localstack_emr_msk.iam.evaluation import Decision, Principal
from localstack_emr_msk.iam.policies import Needed


class Report:
    """Appends to a file; without one, it does nothing."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._lock = threading.Lock()

    def add(self, principal: Principal, call: Call, needed: Needed, decision: Decision) -> None:
        """Adds a decision."""
        if self._file is None:
            return
        line = json.dumps(entry(principal, call, needed, decision))
        with self._lock, self._file.open("a") as stream:
            stream.write(f"{line}\n")


def entry(
    principal: Principal, call: Call, needed: Needed, decision: Decision
) -> Mapping[str, Any]:
    """Returns a line of the report; ``role`` is the role of a session, else the principal."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "principal": principal.name,
        "role": principal.names.role or principal.name,
        "call": f"{call.service}:{call.operation}",
        "action": needed.action,
        "resource": needed.resource,
        "allowed": decision.allowed,
        "statements": list(decision.statements),
        "reason": decision.reason,
        "context": {key: list(values) for key, values in needed.context.items()},
    }

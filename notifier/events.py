"""What the notifier tells other services: an event has a type, a stable id and data."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

EventType = Literal["image.finished", "run.finished", "run.failed", "test"]
"""``test`` is sent when a subscriber asks for it, and to that one only."""
SUBSCRIBABLE: tuple[EventType, ...] = tuple(each for each in get_args(EventType) if each != "test")


@dataclass(frozen=True)
class Event:
    """One event; the same happening gives the same id, whoever hears of it and how often."""

    type: EventType
    subject: str
    moment: datetime
    data: dict[str, Any]

    @property
    def message_id(self) -> str:
        """The header ``webhook-id``."""
        text = f"{self.type}\n{self.subject}\n{self.moment.isoformat()}"
        return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:32]}"

    def payload(self) -> str:
        """The body, as the Standard Webhooks specification (payload structure) wants it."""
        told = {"type": self.type, "timestamp": self.moment.isoformat(), "data": self.data}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

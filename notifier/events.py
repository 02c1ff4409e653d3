"""Events that the notifier announces to other services: a type, a stable id and data."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

SubscribedType = Literal["image.finished", "run.finished", "run.failed"]
EventType = SubscribedType | Literal["test"]
"""``test`` is only sent on request, to one subscription."""
SUBSCRIBED_TYPES: tuple[SubscribedType, ...] = get_args(SubscribedType)


@dataclass(frozen=True)
class Event:
    """One event; its id depends on its content only, so repeated detection yields the same id."""

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
        """The body, in the payload structure of the Standard Webhooks specification."""
        content = {"type": self.type, "timestamp": self.moment.isoformat(), "data": self.data}
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"))

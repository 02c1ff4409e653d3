"""What every operation of a provider takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Request = Mapping[str, Any]
Response = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    """Whose request it is: nothing of one account or region is seen in another."""

    account: str
    region: str


def now() -> datetime:
    """The time, as it stands in answers."""
    return datetime.now(UTC)


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """The members that have a value: AWS leaves the others out of its answers."""
    return {key: value for key, value in values.items() if value is not None}

"""Types and helpers of all operations: caller, request and response."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Request = Mapping[str, Any]
Response = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    """The account and region of a request; one cannot see the resources of another."""

    account: str
    region: str


def now() -> datetime:
    """Returns the current time, as responses contain it."""
    return datetime.now(UTC)


def present(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the members that have a value; AWS leaves the others out of its responses."""
    return {key: value for key, value in values.items() if value is not None}

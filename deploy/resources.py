"""The managed resources of a plan or a state, as ``terraform show -json`` prints them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Resource:
    """A managed resource: as it will be after a plan, or as it is in a state."""

    address: str
    type: str
    values: Mapping[str, Any]

    @property
    def module(self) -> str:
        """The address of its module; empty for the root."""
        return self.address.rpartition(f"{self.type}.")[0]


def planned_resources(plan: Mapping[str, Any]) -> list[Resource]:
    """Returns what will exist after a plan."""
    return [
        Resource(change["address"], change["type"], change["change"]["after"])
        for change in plan["resource_changes"]
        if change["mode"] == "managed" and change["change"]["after"] is not None
    ]


def changed_addresses(plan: Mapping[str, Any]) -> list[str]:
    """Returns what a plan changes, creates or deletes."""
    return [
        change["address"]
        for change in plan.get("resource_changes", [])
        if change["mode"] == "managed" and change["change"]["actions"] not in (["no-op"], ["read"])
    ]


def existing_resources(state: Mapping[str, Any]) -> list[Resource]:
    """Returns what exists; data sources read what is not ours."""
    return [
        Resource(each["address"], each["type"], each["values"])
        for each in _of_module(state.get("values", {}).get("root_module", {}))
        if each["mode"] == "managed"
    ]


def _of_module(module: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _of_module(child)

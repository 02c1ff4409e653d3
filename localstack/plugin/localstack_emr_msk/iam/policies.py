"""Policies, their statements, and whether a statement applies to a request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from localstack_emr_msk.iam.conditions import (
    Condition,
    PolicyError,
    as_texts,
    holds,
    parse_conditions,
)
from localstack_emr_msk.iam.patterns import Context, Values, arn_matches, expanded, matches


@dataclass(frozen=True)
class Needed:
    """A permission that a call needs: an action on a resource, with the keys of its context."""

    action: str
    resource: str
    context: Context


class Named(Enum):
    """How the element Principal of a statement names a caller."""

    EXACTLY = "the session, user or service"
    AS_ROLE = "its role, or everyone"
    AS_ACCOUNT = "its account"


@dataclass(frozen=True)
class Names:
    """The names under which the element Principal may know a caller."""

    session: str = ""  # of a role; or a user
    role: str = ""
    account: str = ""
    service: str = ""


@dataclass(frozen=True)
class Statement:
    """A statement; ``name`` is that of its policy and its Sid."""

    name: str
    allows: bool
    actions: Values
    other_actions: bool  # NotAction
    resources: Values
    other_resources: bool
    principals: Mapping[str, Values] | None
    other_principals: bool
    conditions: tuple[Condition, ...]

    def covers(self, needed: Needed) -> bool:
        """Returns whether action, resource and condition apply."""
        return (
            any(matches(each, needed.action, ignore_case=True) for each in self.actions)
            != self.other_actions
            and self._covers_resource(needed)
            and all(holds(each, needed.context) for each in self.conditions)
        )

    def _covers_resource(self, needed: Needed) -> bool:
        if not self.resources:  # of a trust policy, which is for its role
            return True
        patterns = (expanded(each, needed.context) for each in self.resources)
        found = any(arn_matches(each, needed.resource) for each in patterns if each is not None)
        return found != self.other_resources

    def names(self, caller: Names) -> Named | None:
        """Returns how a statement of a resource's policy names the caller; None if it does not."""
        if self.principals is None:
            return None
        found = _named(self.principals, caller)
        if self.other_principals:
            return Named.AS_ROLE if found is None else None
        return found


def _named(principals: Mapping[str, Values], caller: Names) -> Named | None:
    if caller.service:
        named = caller.service in principals.get("Service", ()) or "*" in principals.get("*", ())
        return Named.EXACTLY if named else None
    known = (*principals.get("AWS", ()), *principals.get("*", ()))
    if caller.session and caller.session in known:
        return Named.EXACTLY
    if "*" in known or (caller.role and caller.role in known):
        return Named.AS_ROLE
    root = f"arn:aws:iam::{caller.account}:root"
    if caller.account and (caller.account in known or root in known):
        return Named.AS_ACCOUNT
    return None


@dataclass(frozen=True)
class Policy:
    """A policy."""

    name: str
    statements: tuple[Statement, ...]

    def applying(self, needed: Needed, *, allows: bool) -> Iterable[Statement]:
        """Yields the statements with that effect that apply, whoever calls."""
        return (each for each in self.statements if each.allows == allows and each.covers(needed))


@lru_cache(maxsize=1024)
def parse_policy(name: str, text: str) -> Policy:
    """Parses a policy document.

    Raises:
        PolicyError: It is not JSON, lacks an element, or has an operator that is not known here.
    """
    try:
        document = json.loads(text if text.lstrip().startswith("{") else unquote(text))
        given = document["Statement"]
        statements = given if isinstance(given, list) else [given]
        return Policy(
            name, tuple(_statement(name, number, each) for number, each in enumerate(statements, 1))
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PolicyError(f"policy {name} is not valid: {error!r}") from None
    except PolicyError as error:
        raise PolicyError(f"policy {name}: {error}") from None


def _statement(policy: str, number: int, given: Mapping[str, Any]) -> Statement:
    actions, other_actions = _either(given, "Action")
    if not actions:
        raise PolicyError(f"statement {number} has neither Action nor NotAction")
    resources, other_resources = _either(given, "Resource")
    principal = given.get("Principal", given.get("NotPrincipal"))
    return Statement(
        name=f"{policy}/{given.get('Sid') or number}",
        allows=given["Effect"] == "Allow",
        actions=actions,
        other_actions=other_actions,
        resources=resources,
        other_resources=other_resources,
        principals=None if principal is None else _principals(principal),
        other_principals="NotPrincipal" in given,
        conditions=parse_conditions(given.get("Condition")),
    )


def _either(given: Mapping[str, Any], name: str) -> tuple[Values, bool]:
    if name in given:
        return as_texts(given[name]), False
    return as_texts(given.get(f"Not{name}", ())), f"Not{name}" in given


def _principals(given: Any) -> Mapping[str, Values]:
    if isinstance(given, str):
        return {given: as_texts(given)}
    return {kind: as_texts(values) for kind, values in given.items()}

"""The condition of a statement: operators on keys of the request.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

import ipaddress
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from localstack_emr_msk.iam.patterns import Context, Values, arn_matches, expanded, matches

Test = Callable[[str, str], bool]  # of a policy's value and a request's


class PolicyError(Exception):
    """A policy that cannot be evaluated; the message says why."""


@dataclass(frozen=True)
class Condition:
    """One operator on one key; any of its values may match."""

    operator: str
    key: str
    values: Values


def parse_conditions(block: Mapping[str, Mapping[str, Any]] | None) -> tuple[Condition, ...]:
    """Parses the element Condition; raises ``PolicyError`` for an unknown operator."""
    found = [
        Condition(name, key, as_texts(values))
        for name, keys in (block or {}).items()
        for key, values in keys.items()
    ]
    for condition in found:
        _test_of(_Operator.parse(condition.operator))
    return tuple(found)


def as_texts(value: Any) -> Values:
    """Returns a value, or a list of them, as texts; JSON's true is ``true``."""
    values = value if isinstance(value, list | tuple) else [value]
    return tuple(str(each).lower() if isinstance(each, bool) else str(each) for each in values)


@dataclass(frozen=True)
class _Operator:
    """An operator such as ``ForAnyValue:StringNotLikeIfExists``, in its parts."""

    quantifier: str
    test: str
    negated: bool
    if_exists: bool
    name: str

    @classmethod
    def parse(cls, name: str) -> "_Operator":
        quantifier, _, rest = name.lower().rpartition(":")
        test = rest.removesuffix("ifexists")
        return cls(
            quantifier,
            _NEGATIONS.get(test, test),
            negated=test in _NEGATIONS,
            if_exists=rest != test,
            name=name,
        )


def holds(condition: Condition, context: Context) -> bool:
    """Returns whether a condition holds for a request."""
    parts = _Operator.parse(condition.operator)
    found = context.get(condition.key.lower())
    if parts.test == "null":
        return (found is None) == (condition.values[0].lower() == "true")
    if not found:
        # Without the key, there are no values: all of them match, and none does. Without a
        # quantifier, only a comparison for "is not" holds.
        if parts.quantifier:
            return parts.quantifier == "forallvalues"
        return parts.if_exists or parts.negated
    test = _test_of(parts)
    wanted = [text for each in condition.values if (text := expanded(each, context)) is not None]

    def passes(value: str) -> bool:
        return any(_safely(test, each, value) for each in wanted) != parts.negated

    all_of_them = parts.quantifier == "forallvalues" or (parts.negated and not parts.quantifier)
    return all(map(passes, found)) if all_of_them else any(map(passes, found))


def _safely(test: Test, wanted: str, value: str) -> bool:
    """A value of another type, such as a text where there must be a number, does not match."""
    try:
        return test(wanted, value)
    except ValueError:
        return False


def _test_of(parts: _Operator) -> Test:
    if parts.quantifier not in ("", "forallvalues", "foranyvalue"):
        raise PolicyError(f"the condition operator {parts.name} is not known here")
    test = _TESTS.get(parts.test)
    if test is None:
        raise PolicyError(f"the condition operator {parts.name} is not known here")
    return test


# ---- the operators


def _numeric(compare: Callable[[float, float], bool]) -> Test:
    return lambda wanted, value: compare(float(value), float(wanted))


def _date(compare: Callable[[float, float], bool]) -> Test:
    return lambda wanted, value: compare(_seconds(value), _seconds(wanted))


def _seconds(text: str) -> float:
    """Reads a time of ISO 8601, or seconds since 1970."""
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _in_network(wanted: str, value: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "equals": operator.eq,
    "lessthan": operator.lt,
    "lessthanequals": operator.le,
    "greaterthan": operator.gt,
    "greaterthanequals": operator.ge,
}
_TESTS: Mapping[str, Test] = {
    "stringequals": lambda wanted, value: wanted == value,
    "stringequalsignorecase": lambda wanted, value: wanted.lower() == value.lower(),
    "stringlike": matches,
    # "The ArnEquals and ArnLike condition operators behave identically."
    "arnequals": arn_matches,
    "arnlike": arn_matches,
    "bool": lambda wanted, value: wanted.lower() == value.lower(),
    "ipaddress": _in_network,
    "binaryequals": lambda wanted, value: wanted == value,
    "null": lambda wanted, value: False,  # tests whether there is a value, see above
    **{f"numeric{name}": _numeric(compare) for name, compare in _COMPARISONS.items()},
    **{f"date{name}": _date(compare) for name, compare in _COMPARISONS.items()},
}
_NEGATIONS: Mapping[str, str] = {
    "stringnotequals": "stringequals",
    "stringnotequalsignorecase": "stringequalsignorecase",
    "stringnotlike": "stringlike",
    "arnnotequals": "arnequals",
    "arnnotlike": "arnlike",
    "numericnotequals": "numericequals",
    "datenotequals": "dateequals",
    "notipaddress": "ipaddress",
}

"""Wildcards, ARNs and variables in policies.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

import re
from collections.abc import Mapping
from functools import lru_cache

Values = tuple[str, ...]
# Condition keys, in lower case because their names are not case-sensitive, with their values.
Context = Mapping[str, Values]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERALS = ("*", "?", "$")  # ${*} is an asterisk that matches only itself
_ARN_PARTS = 6


@lru_cache(maxsize=4096)
def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    parts: list[str] = []
    rest = pattern
    while rest:
        literal = _VARIABLE.match(rest)
        if literal and literal[1] in _LITERALS:
            parts.append(re.escape(literal[1]))
            rest = rest[literal.end() :]
            continue
        parts.append({"*": ".*", "?": "."}.get(rest[0], re.escape(rest[0])))
        rest = rest[1:]
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def matches(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """Returns whether a text matches a pattern with ``*`` and ``?``."""
    return _compiled(pattern, ignore_case).fullmatch(text) is not None


def arn_matches(pattern: str, arn: str) -> bool:
    """Returns whether an ARN matches a pattern, each of its six parts on its own."""
    patterns, parts = pattern.split(":", _ARN_PARTS - 1), arn.split(":", _ARN_PARTS - 1)
    if len(patterns) != len(parts) or len(parts) != _ARN_PARTS:
        return pattern in ("*", arn)
    return all(map(matches, patterns, parts))


def expanded(text: str, context: Context) -> str | None:
    """Replaces policy variables by their values.

    Returns None when a variable has neither a value nor a default: such a text matches nothing.
    """
    lacking = False

    def value(match: re.Match[str]) -> str:
        nonlocal lacking
        name, comma, default = (part.strip() for part in match[1].partition(","))
        if name in _LITERALS:
            return match[0]
        values = context.get(name.lower(), ())
        if len(values) == 1:
            return values[0]
        if comma:
            return default.strip("'")
        lacking = True
        return ""

    replaced = _VARIABLE.sub(value, text)
    return None if lacking else replaced

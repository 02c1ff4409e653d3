"""The constraints of AWS's API models: lengths, ranges, patterns, enumerations, required members.

botocore has AWS's own models; clients check only types and required members against them, and
leave the rest to the service. Messages have the form that AWS's services share.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import regex  # type: ignore[import-untyped]  # it ships none

# Java writes the characters beyond the first 65,536 as pairs of surrogates.
_SURROGATES = ("\\uD800\\uDC00-\\uDBFF\\uDFFF", "\\U00010000-\\U0010FFFF")


def violations(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Yields the constraints of a botocore shape that a value breaks.

    Args:
        shape: Shape of the value, such as ``operation_model.input_shape``.
        value: Parsed request, or a part of it.
        path: Where in the request the value is, as in ``instances.instanceFleets.1.member.name``.
    """
    if value is None:
        return
    kind = shape.type_name
    if kind == "structure":
        yield from _of_structure(shape, value, path)
    elif kind == "list":
        yield from _of_size(shape, len(value), path, value)
        for number, each in enumerate(value, 1):
            yield from violations(shape.member, each, f"{path}.{number}.member")
    elif kind == "map":
        yield from _of_size(shape, len(value), path, value)
        for key, each in value.items():
            yield from violations(shape.key, key, f"{path}.{key}.key")
            yield from violations(shape.value, each, f"{path}.{key}.value")
    elif kind == "string":
        yield from _of_text(shape, str(value), path)
    elif kind in ("integer", "long", "float", "double"):
        yield from _of_number(shape, value, path)


def _of_structure(shape: Any, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            where = _member(path, name)
            yield _sentence("null", where, "Member must not be null")
    for name, member in shape.members.items():
        if value.get(name) is not None:
            yield from violations(member, value[name], _member(path, name))


def _member(path: str, name: str) -> str:
    """AWS begins the names of members in messages with a small letter."""
    small = name[:1].lower() + name[1:]
    return f"{path}.{small}" if path else small


def _of_size(shape: Any, size: int, path: str, value: Any) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        yield _sentence(value, path, f"Member must have length greater than or equal to {least}")
    if most is not None and size > most:
        yield _sentence(value, path, f"Member must have length less than or equal to {most}")


def _of_text(shape: Any, text: str, path: str) -> Iterator[str]:
    # Models give dates, which some protocols send as text, no constraints.
    shown = "***" if shape.metadata.get("sensitive") else text
    yield from _of_size(shape, len(text), path, shown)
    pattern = shape.metadata.get("pattern")
    if pattern and not _pattern(pattern).fullmatch(text):
        yield _sentence(shown, path, f"Member must satisfy regular expression pattern: {pattern}")
    choices = shape.metadata.get("enum")
    if choices and text not in choices:
        yield _sentence(shown, path, f"Member must satisfy enum value set: [{', '.join(choices)}]")


def _of_number(shape: Any, number: float, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and number < least:
        yield _sentence(number, path, f"Member must have value greater than or equal to {least}")
    if most is not None and number > most:
        yield _sentence(number, path, f"Member must have value less than or equal to {most}")


@functools.cache
def _pattern(pattern: str) -> Any:
    """Compiles a pattern of the model, which is in Java's syntax."""
    # Python allows no (?i) within a pattern; Java applies it from there on.
    return regex.compile(pattern.replace(*_SURROGATES), regex.V0)


def _sentence(value: Any, path: str, constraint: str) -> str:
    shown = str(value)
    if len(shown) > 200:
        shown = f"{shown[:200]}…"
    return f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}"


def message(found: list[str]) -> str:
    """Joins violations as AWS does."""
    plural = "s" if len(found) > 1 else ""
    return f"{len(found)} validation error{plural} detected: {'; '.join(found)}"

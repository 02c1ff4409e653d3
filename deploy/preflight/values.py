"""Finds keys in an environment's values that Terraform would drop without a word.

Terraform refuses an unknown variable, but it leaves out an unknown key inside an object: a typing
error there would be a setting that does nothing.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.environments import Environment
from deploy.preflight.finding import Finding
from deploy.terraform import DATA, INFRA, value_of

_VARIABLE = re.compile(r'^variable "(\w+)"', re.MULTILINE)


def value_findings(environment: Environment, infra: Path = INFRA) -> list[Finding]:
    """Returns a finding for each key that the type of its variable does not have.

    Raises ``ConfigError`` for a value that Terraform rejects.
    """
    names = _VARIABLE.findall((infra / "variables.tf").read_text("utf-8"))
    expression = "{" + ", ".join(f"{name} = var.{name}" for name in names) + "}"
    typed = value_of(expression, environment.values, infra)
    with tempfile.TemporaryDirectory(prefix="untyped-", dir=DATA) as folder:
        untyped = "".join(f'variable "{name}" {{\n  default = null\n}}\n' for name in names)
        Path(folder, "variables.tf").write_text(untyped, "utf-8")
        raw = value_of(expression, environment.values, Path(folder))
    return [
        Finding(
            f"{environment.values.name}: {key} is no setting and would be ignored; allowed there: "
            f"{', '.join(sorted(allowed))}"
        )
        for key, allowed in _unknown(raw, typed, "")
    ]


def _unknown(raw: Any, typed: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    """Yields each key of ``raw`` that ``typed`` lacks, with the keys that it has."""
    if isinstance(raw, dict) and isinstance(typed, dict):
        for key, value in raw.items():
            name = f"{path}.{key}" if path else key
            if key in typed:
                yield from _unknown(value, typed[key], name)
            else:
                yield name, list(typed)
    elif isinstance(raw, list) and isinstance(typed, list):
        for value, kept in zip(raw, typed, strict=False):
            yield from _unknown(value, kept, path)

"""What deploying needs, as infra/deploy_role/permissions.yaml lists it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from deploy.terraform import INFRA

FILE = INFRA / "deploy_role" / "permissions.yaml"


@dataclass(frozen=True)
class Scope:
    """What ARNs and conditions contain of an account and an environment."""

    partition: str
    account: str
    region: str
    project: str


@dataclass(frozen=True)
class Statement:
    """Actions on resources, under conditions.

    Attributes:
        sid: its name.
        resource_types: of Terraform, that it is for.
        actions: with their service, as in ``s3:GetObject``.
        resources: ARNs, or ``*``.
        conditions: by key, the values of which a request must have one.
        flags: by key, ``true`` or ``false``, which a request must have if it has the key.
    """

    sid: str
    resource_types: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: dict[str, tuple[str, ...]]
    flags: dict[str, str]


def read_statements(scope: Scope, file: Path = FILE) -> Iterator[Statement]:
    """Yields what deploying needs, with the names of an account and environment."""
    text = Template(file.read_text("utf-8")).substitute(vars(scope))
    for statements in yaml.safe_load(text).values():
        for each in statements:
            yield Statement(
                each["sid"],
                tuple(each["for"]),
                tuple(
                    f"{service}:{name}"
                    for service, names in each["actions"].items()
                    for name in names
                ),
                tuple(each.get("resources", ["*"])),
                {key: tuple(values) for key, values in each.get("conditions", {}).items()},
                each.get("flags", {}),
            )

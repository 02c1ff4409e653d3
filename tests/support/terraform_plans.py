"""The plan of an environment without AWS: Terraform's provider is replaced by a mock."""

import json
from typing import Any

from deploy.environments import read_environment
from deploy.terraform import DATA, INFRA, terraform_on
from tests.support.required_tools import require


def plan_of(name: str) -> dict[str, Any]:
    """Returns ``resource_changes`` and more, as ``terraform show -json`` has them of a plan."""
    require("terraform", "install Terraform 1.11 or newer")
    terraform = terraform_on(INFRA, DATA / f"plan-{name}")
    terraform.read("init", "-backend=false")
    output = terraform.read(
        *("test", "-verbose", "-json", "-filter=tests/plan.tftest.hcl"),
        f"-var-file={read_environment(name).values}",
    )
    (plan,) = [
        line["test_plan"] for line in map(json.loads, output.splitlines()) if "test_plan" in line
    ]
    return dict(plan)

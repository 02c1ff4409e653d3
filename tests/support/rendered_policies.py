"""The policies that Terraform renders, from the policies tests of the modules, without AWS."""

import hashlib
import json
from functools import cache

from deploy.terraform import Terraform, check_version, terraform_on
from superres.pipeline import storage
from tests.support.paths import ROOT
from tests.support.required_tools import require

INFRA = ROOT / "infra"


def rendered_policies(module: str) -> dict[tuple[str, str], str]:
    """Returns the policies by run of the module's policies test and by output."""
    return {
        (run, name): change["after"]
        for run, changes in json.loads(_rendered(module))
        for name, change in changes.items()
        if name.endswith("policy")
    }


def _rendered(module: str) -> str:
    """Returns the outputs of the module's policies test as JSON; cached until a file changes."""
    require("terraform", "install Terraform 1.11 or newer")
    data = ROOT / "build" / "terraform" / f"permissions-{module}"
    cached = data / f"outputs-{_digest()}.json"
    if not cached.exists():
        # The root has the provider's version, and therefore its mirror.
        settings = terraform_on(INFRA, data).settings
        terraform = Terraform(INFRA / "modules" / module, data, settings)
        terraform.read("init", "-backend=false")
        output = terraform.read("test", "-verbose", "-json", "-filter=tests/policies.tftest.hcl")
        plans = [
            line for line in map(json.loads, output.splitlines()) if line["type"] == "test_plan"
        ]
        runs = [(plan["@testrun"], plan["test_plan"]["output_changes"]) for plan in plans]
        for old in data.glob("outputs-*.json"):
            old.unlink()
        storage.write_bytes(str(cached), json.dumps(runs).encode())
    return cached.read_text()


@cache
def _digest() -> str:
    """Returns a digest of Terraform's version and every file that policies depend on."""
    patterns = ("*.tf", "services/*", "modules/*/*", "modules/*/tests/*")
    files = [file for pattern in patterns for file in INFRA.glob(pattern)]
    known = hashlib.sha256(check_version().encode())
    for file in sorted(file for file in files if file.is_file()):
        known.update(f"{file.relative_to(INFRA)} {file.stat().st_size}\n".encode())
        known.update(file.read_bytes())
    return known.hexdigest()[:12]

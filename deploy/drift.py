"""Whether what exists differs from what a deployment of this checkout would make.

Terraform plans with the package in build/package, without a lock and with a time limit, and changes
nothing.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.environments import Deployed, Environment
from deploy.package import PACKAGE, ROOT
from deploy.preflight.finding import listed
from deploy.resources import changed_addresses
from deploy.terraform import DATA, INFRA, Run, terraform_on
from superres.errors import PrerequisiteError

_SECONDS = 180.0  # AWS answers for all resources in half a minute
_SHOWN = 6  # addresses in one line


def run_bounded(
    command: Sequence[str], environment: Mapping[str, str], capture: bool
) -> "subprocess.CompletedProcess[str]":
    """Runs a command that changes nothing, and ends it when it takes too long."""
    try:
        return subprocess.run(
            list(command),
            env=dict(environment),
            capture_output=capture,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired:
        error = f"Error: no answer within {_SECONDS:.0f} seconds"
        return subprocess.CompletedProcess(list(command), 124, "", error)


def drift_line(deployed: Deployed, package: Path = PACKAGE, run: Run = run_bounded) -> str:
    """Returns in one line what a deployment would change now, or why that is not known."""
    manifest = package / "manifest.json"
    name = deployed.environment.name
    if not manifest.is_file():
        return (
            f"not compared: there is no package in {_shown(package)}; run make package, then make "
            f"status ENV={name}"
        )
    try:
        changed = _changes(deployed.environment, run)
    except PrerequisiteError as error:
        return f"not compared: {error}"
    if not changed:
        return "as deployed: a deployment would change nothing"
    release = json.loads(manifest.read_text("utf-8"))["release"]
    other = deployed.get("release") not in (None, release)
    of = f"release {release}, {deployed.get('release')} is deployed" if other else "same release"
    which = listed(changed, _SHOWN)
    return f"{len(changed)} differ from this checkout ({of}): {which}; see make deploy ENV={name}"


def _changes(environment: Environment, run: Run) -> list[str]:
    terraform = terraform_on(INFRA, DATA / environment.full_name, run)
    plan = terraform.data / "status.tfplan"
    try:
        terraform.read("get")  # modules that came with this checkout
        # With the package's default path, as a deployment: the state has the paths of files.
        terraform.read("plan", "-lock=false", f"-var-file={environment.values}", f"-out={plan}")
        return changed_addresses(json.loads(terraform.read("show", "-json", str(plan))))
    finally:
        plan.unlink(missing_ok=True)


def _shown(package: Path) -> str:
    return str(package.relative_to(ROOT) if package.is_relative_to(ROOT) else package)

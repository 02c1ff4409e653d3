"""Running Terraform: which one, with which provider, on which state.

Terraform's own output goes straight to the terminal. Its working data lies under build/terraform/
(or where SUPERRES_TERRAFORM_DIR says), apart for each environment, so that going from one to
another needs no new ``init`` and the tests of infra/ are not disturbed.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.package import ROOT
from superres.errors import ConfigError, PrerequisiteError

INFRA = ROOT / "infra"
DATA = Path(os.environ.get("SUPERRES_TERRAFORM_DIR") or ROOT / "build" / "terraform")
ANY_PACKAGE = "tests/package"  # a package in small, for when only its form matters
_REGISTRY = "registry.terraform.io"
_LEAST = (1, 11)  # it locks a state with a file in S3
_REMEDY = "install Terraform 1.11 or later (developer.hashicorp.com/terraform/install)"

Run = Callable[[Sequence[str], Mapping[str, str], bool], "subprocess.CompletedProcess[str]"]
"""Runs a command in an environment; the last argument tells whether its output is wanted."""


def run_command(
    command: Sequence[str], environment: Mapping[str, str], capture: bool
) -> "subprocess.CompletedProcess[str]":
    """Runs it as a process; what is not captured goes to the terminal."""
    return subprocess.run(
        list(command), env=dict(environment), capture_output=capture, text=True, check=False
    )


def check_version(run: Run = run_command) -> str:
    """The version of the Terraform on PATH; raises ``PrerequisiteError`` if it will not do."""
    if shutil.which("terraform") is None:
        raise PrerequisiteError(f"Terraform is not on PATH; {_REMEDY}")
    # A CLI configuration that is not there makes it print a warning before the JSON.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CLI_CONFIG_FILE"}
    done = run(["terraform", "version", "-json"], environment | {"CHECKPOINT_DISABLE": "1"}, True)
    found = re.search(r'"terraform_version": *"(\d+)\.(\d+)([^"]*)"', done.stdout or "")
    if found is None:
        raise PrerequisiteError(f"terraform version gives no version; {_REMEDY}")
    if (int(found[1]), int(found[2])) < _LEAST:
        raise PrerequisiteError(f"Terraform {found[1]}.{found[2]}{found[3]} is too old; {_REMEDY}")
    return f"{found[1]}.{found[2]}{found[3]}"


@dataclass(frozen=True)
class Terraform:
    """Terraform on one root, with working data and settings of its own."""

    folder: Path
    data: Path
    settings: Mapping[str, str]
    run: Run = run_command

    def call(self, *arguments: str, allowed: Iterable[int] = (0,)) -> int:
        """Runs a command whose output people read; raises ``PrerequisiteError`` if it fails."""
        done = self.run(self._command(arguments), self._environment, False)
        if done.returncode not in allowed:
            raise PrerequisiteError(f"terraform {arguments[0]} failed; what it said stands above")
        return done.returncode

    def read(self, *arguments: str) -> str:
        """What a command prints; raises ``PrerequisiteError`` with its first complaint."""
        done = self.run(self._command(arguments), self._environment, True)
        if done.returncode != 0:
            raise PrerequisiteError(f"terraform {arguments[0]}: {_complaint(done.stderr)}")
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        """The outputs of the root by name; empty when nothing is deployed."""
        found: dict[str, Any] = json.loads(self.read("output", "-json"))
        return {name: output["value"] for name, output in found.items()}

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings, "TF_DATA_DIR": str(self.data)}

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return ["terraform", f"-chdir={self.folder}", *arguments]


def terraform_on(folder: Path, data: Path, run: Run = run_command) -> Terraform:
    """Terraform on a root, told where its provider comes from."""
    settings = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    if not sys.stdout.isatty():  # a file or a log, where colours are noise
        for command in ("init", "plan", "apply", "destroy", "import"):
            name = f"TF_CLI_ARGS_{command}"
            settings[name] = f"{os.environ.get(name, '')} -no-color".strip()
    config = cli_configuration(folder, data.parent / "cli.tfrc")
    if config is not None:
        settings["TF_CLI_CONFIG_FILE"] = str(config)
    return Terraform(folder, data, settings, run)


def evaluate(expression: str, values: Path, infra: Path = INFRA) -> Any:  # JSON of any form
    """What an expression over the root's variables is worth with a file of values.

    A root of variables alone needs neither provider nor state, so this works before everything.
    Raises ``ConfigError`` with Terraform's complaint about a value or a name.
    """
    folder = DATA / "variables"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(infra / "variables.tf", folder / "variables.tf")
    terraform = terraform_on(folder, folder / "data")
    done = subprocess.run(
        # A first deployment is looked at before there is a package.
        [
            *("terraform", f"-chdir={folder}", "console", f"-var-file={values.resolve()}"),
            f"-var=package_dir={infra.resolve() / ANY_PACKAGE}",
        ],
        env={**os.environ, **terraform.settings},
        input=f"jsonencode({expression})\n",
        capture_output=True,
        text=True,
        check=False,
    )
    # It goes on after a value that is not allowed, and then the answer stands behind a warning.
    if done.returncode != 0 or "Error: " in done.stderr:
        raise ConfigError(f"{values}: {_complaint(done.stderr)}")
    # Of a name that it does not know it only warns, above the answer.
    plain = " ".join(_plain(done.stdout + done.stderr).split())
    unknown = re.findall(r'does not declare a variable named "([^"]+)"', plain)
    if unknown:
        raise ConfigError(
            f"{values}: there is no variable {' or '.join(unknown)}; see infra/variables.tf for "
            "how it is spelled"
        )
    return json.loads(json.loads(done.stdout.splitlines()[-1]))


def _plain(text: str) -> str:
    """Without colours and frames."""
    return re.sub(r"\x1b\[[0-9;]*m|[│╷╵]", "", text)


def _complaint(text: str) -> str:
    """The first error of Terraform's, on one line."""
    plain = _plain(text)
    _, _, rest = plain.partition("Error: ")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", rest or plain)]
    told = [part for part in paragraphs if part and not part.startswith("on ")]
    return ": ".join(told[:2]) or "no reason given"


# ---- where the provider comes from


def cli_configuration(
    folder: Path, target: Path, environment: Mapping[str, str] = os.environ
) -> Path | None:
    """A CLI configuration that names a provider mirror of this machine; None: the user's own holds.

    A TF_CLI_CONFIG_FILE that names a file which is not there counts for nothing.
    """
    named = environment.get("TF_CLI_CONFIG_FILE")
    home = Path(environment.get("HOME", "/nonexistent"))
    if (named and Path(named).is_file()) or (not named and (home / ".terraformrc").is_file()):
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_configuration(_mirrors(folder, mirror_roots(environment))))
    return target


def _configuration(mirrors: Mapping[str, Path]) -> str:
    """Each provider from its mirror, all others from the registry.

    Terraform asks every source that is allowed and fails if one cannot be reached, so what a mirror
    has is taken from there alone.
    """
    blocks = "".join(
        f'  filesystem_mirror {{\n    path    = "{mirror}"\n    include = ["{provider}"]\n  }}\n'
        for provider, mirror in sorted(mirrors.items())
    )
    excluded = ", ".join(f'"{provider}"' for provider in sorted(mirrors))
    direct = f"  direct {{\n    exclude = [{excluded}]\n  }}\n"
    return f"provider_installation {{\n{blocks}{direct}}}\n"


def mirror_roots(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where Terraform itself looks for mirrors, and where administrators put them."""
    home = Path(environment.get("HOME", "/nonexistent"))
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    shared = [Path(part) for part in ("/usr/local/share", "/usr/share")]
    roots = [home / ".terraform.d" / "plugins"]
    roots += [folder / "terraform" / "plugins" for folder in (data, *shared)]
    return [*roots, Path("/opt"), Path("/usr/local/share")]


def _mirrors(folder: Path, roots: Iterable[Path]) -> dict[str, Path]:
    """For each provider that the root wants, a mirror that has the very version."""
    wanted = _wanted_providers(folder)
    found: dict[str, Path] = {}
    for mirror in (mirror for root in roots for mirror in _mirrors_below(root)):
        for provider, version in wanted:
            place = mirror / provider
            unpacked, packed = place / version, place.glob(f"*_{version}_*.zip")
            if unpacked.is_dir() or any(packed):
                found.setdefault(provider, mirror)
    return found


def _mirrors_below(root: Path) -> Iterator[Path]:
    """Folders that hold a mirror: the root itself or up to two levels below."""
    for pattern in ("", "*/", "*/*/"):
        for registry in sorted(root.glob(f"{pattern}{_REGISTRY}")):
            yield registry.parent


def _wanted_providers(folder: Path) -> list[tuple[str, str]]:
    """Providers with their exact versions, as versions.tf names them."""
    file = folder / "versions.tf"
    text = file.read_text("utf-8") if file.is_file() else ""
    pairs = re.findall(r'source += +"([\w-]+/[\w-]+)"\s+version += +"(\d+\.\d+\.\d+)"', text)
    return [(f"{_REGISTRY}/{provider}", version) for provider, version in pairs]

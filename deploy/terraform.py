"""Running Terraform: its version, its provider mirrors, and its working data.

Terraform's own output goes straight to the terminal. Its working data is under build/terraform/ (or
SUPERRES_TERRAFORM_DIR), in a folder per environment, so that switching between them needs no new
``init`` and the tests of infra/ are not disturbed.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.package import ROOT
from superres.errors import ConfigError, PrerequisiteError

INFRA = ROOT / "infra"
DATA = Path(os.environ.get("SUPERRES_TERRAFORM_DIR") or ROOT / "build" / "terraform")
SAMPLE_PACKAGE = "tests/package"  # a tiny package, for when only its form matters
_REGISTRY = "registry.terraform.io"
_MINIMUM = (1, 11)  # the first to lock a state with a file in S3
_REMEDY = "install Terraform 1.11 or later (developer.hashicorp.com/terraform/install)"

Run = Callable[[Sequence[str], Mapping[str, str], bool], "subprocess.CompletedProcess[str]"]
"""Runs a command with environment variables; the last argument is whether to capture its output."""


@contextmanager
def _noted_interrupts() -> Iterator[list[int]]:
    """Notes Ctrl-C in the list instead of raising it, also while a command starts.

    Only the main thread is ever interrupted.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)


def run_command(
    command: Sequence[str], environment: Mapping[str, str], capture: bool
) -> "subprocess.CompletedProcess[str]":
    """Runs a command as a process; output that is not captured goes to the terminal.

    Ctrl-C reaches the process as well. Terraform then finishes what it is creating and writes its
    state, so it is waited for: killed, it would leave resources behind that no state knows.
    """
    pipe = subprocess.PIPE if capture else None
    with (
        _noted_interrupts() as interrupts,
        subprocess.Popen(
            list(command), env=dict(environment), stdout=pipe, stderr=pipe, text=True
        ) as process,
    ):
        output, errors = process.communicate()
    if interrupts:
        raise KeyboardInterrupt
    return subprocess.CompletedProcess(list(command), process.returncode, output, errors)


def check_version(run: Run = run_command) -> str:
    """Returns the version of Terraform; raises ``PrerequisiteError`` if missing or too old."""
    if shutil.which("terraform") is None:
        raise PrerequisiteError(f"Terraform is not on PATH; {_REMEDY}")
    # With a CLI configuration that does not exist it prints a warning before the JSON.
    environment = {k: v for k, v in os.environ.items() if k != "TF_CLI_CONFIG_FILE"}
    done = run(["terraform", "version", "-json"], environment | {"CHECKPOINT_DISABLE": "1"}, True)
    found = re.search(r'"terraform_version": *"(\d+)\.(\d+)([^"]*)"', done.stdout or "")
    if found is None:
        raise PrerequisiteError(f"terraform version prints no version; {_REMEDY}")
    if (int(found[1]), int(found[2])) < _MINIMUM:
        raise PrerequisiteError(f"Terraform {found[1]}.{found[2]}{found[3]} is too old; {_REMEDY}")
    return f"{found[1]}.{found[2]}{found[3]}"


@dataclass(frozen=True)
class Terraform:
    """Terraform in one root module, with its own working data and settings."""

    folder: Path
    data: Path
    settings: Mapping[str, str]
    run: Run = run_command

    def call(self, *arguments: str, allowed: Iterable[int] = (0,)) -> int:
        """Runs a command with output to the terminal; raises ``PrerequisiteError`` if it fails."""
        done = self.run(self._command(arguments), self._environment, False)
        if done.returncode not in allowed:
            raise PrerequisiteError(f"terraform {arguments[0]} failed; see its output above")
        return done.returncode

    def read(self, *arguments: str) -> str:
        """Returns what a command prints; raises ``PrerequisiteError`` with its first error."""
        done = self.run(self._command(arguments), self._environment, True)
        if done.returncode != 0:
            raise PrerequisiteError(f"terraform {arguments[0]}: {_first_error(done.stderr)}")
        return done.stdout

    def outputs(self) -> dict[str, Any]:
        """Returns the outputs by name; empty when nothing is deployed."""
        found: dict[str, Any] = json.loads(self.read("output", "-json"))
        return {name: output["value"] for name, output in found.items()}

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.settings, "TF_DATA_DIR": str(self.data)}

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return ["terraform", f"-chdir={self.folder}", *arguments]


def terraform_on(folder: Path, data: Path, run: Run = run_command) -> Terraform:
    """Returns Terraform for a root module, with mirrors for its providers."""
    settings = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "CHECKPOINT_DISABLE": "1"}
    if not sys.stdout.isatty():  # no colours in files and logs
        for command in ("init", "plan", "apply", "destroy", "import"):
            name = f"TF_CLI_ARGS_{command}"
            settings[name] = f"{os.environ.get(name, '')} -no-color".strip()
    config = cli_configuration(folder, data.parent / "cli.tfrc")
    if config is not None:
        settings["TF_CLI_CONFIG_FILE"] = str(config)
    return Terraform(folder, data, settings, run)


def value_of(expression: str, values: Path, infra: Path = INFRA) -> Any:  # JSON of any form
    """Evaluates an expression over the root's variables with a file of values.

    A root module of variables alone needs neither provider nor state, so this works before a
    deployment. Raises ``ConfigError`` for a value that Terraform rejects or an unknown variable.
    """
    DATA.mkdir(parents=True, exist_ok=True)
    # A folder per call: Terraform locks a state even here, which would fail a second one.
    with tempfile.TemporaryDirectory(prefix="variables-", dir=DATA) as name:
        folder = Path(name)
        shutil.copyfile(infra / "variables.tf", folder / "variables.tf")
        terraform = terraform_on(folder, folder / "data")
        done = subprocess.run(
            # The first deployment is checked before a package exists.
            [
                *("terraform", f"-chdir={folder}", "console", f"-var-file={values.resolve()}"),
                f"-var=package_dir={infra.resolve() / SAMPLE_PACKAGE}",
            ],
            env={**os.environ, **terraform.settings},
            input=f"jsonencode({expression})\n",
            capture_output=True,
            text=True,
            check=False,
        )
    # It goes on after a rejected value, and then prints a result despite the error.
    if done.returncode != 0 or "Error: " in done.stderr:
        raise ConfigError(f"{values}: {_first_error(done.stderr)}")
    # For an unknown variable it only warns, above the result.
    plain = " ".join(_undecorated(done.stdout + done.stderr).split())
    unknown = re.findall(r'does not declare a variable named "([^"]+)"', plain)
    if unknown:
        raise ConfigError(
            f"{values}: there is no variable {' or '.join(unknown)}; see infra/variables.tf for "
            "the spelling"
        )
    return json.loads(json.loads(done.stdout.splitlines()[-1]))


def _undecorated(text: str) -> str:
    """Removes colours and box characters."""
    return re.sub(r"\x1b\[[0-9;]*m|[│╷╵]", "", text)


def _first_error(text: str) -> str:
    """Returns the first error that Terraform printed, on one line."""
    plain = _undecorated(text)
    _, _, rest = plain.partition("Error: ")
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", rest or plain)]
    reasons = [part for part in paragraphs if part and not part.startswith("on ")]
    return ": ".join(reasons[:2]) or "no reason given"


# ---- provider mirrors


def cli_configuration(
    folder: Path, target: Path, environment: Mapping[str, str] = os.environ
) -> Path | None:
    """Writes a CLI configuration with this machine's provider mirrors.

    Returns None where the user has one, which then applies. A TF_CLI_CONFIG_FILE that does not
    exist is ignored.
    """
    named = environment.get("TF_CLI_CONFIG_FILE")
    home = Path(environment.get("HOME", "/nonexistent"))
    if (named and Path(named).is_file()) or (not named and (home / ".terraformrc").is_file()):
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_configuration(_mirrors(folder, mirror_roots(environment))))
    return target


def _configuration(mirrors: Mapping[str, Path]) -> str:
    """Takes each provider from its mirror, and all others from the registry.

    Terraform asks every source that may have a provider and fails if one cannot be reached, so a
    mirrored provider is excluded from the registry.
    """
    blocks = "".join(
        f'  filesystem_mirror {{\n    path    = "{mirror}"\n    include = ["{provider}"]\n  }}\n'
        for provider, mirror in sorted(mirrors.items())
    )
    excluded = ", ".join(f'"{provider}"' for provider in sorted(mirrors))
    direct = f"  direct {{\n    exclude = [{excluded}]\n  }}\n"
    return f"provider_installation {{\n{blocks}{direct}}}\n"


def mirror_roots(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Returns the folders where Terraform looks for mirrors, and where administrators put them."""
    home = Path(environment.get("HOME", "/nonexistent"))
    data = Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share")
    shared = [Path(part) for part in ("/usr/local/share", "/usr/share")]
    roots = [home / ".terraform.d" / "plugins"]
    roots += [folder / "terraform" / "plugins" for folder in (data, *shared)]
    return [*roots, Path("/opt"), Path("/usr/local/share")]


def _mirrors(folder: Path, roots: Iterable[Path]) -> dict[str, Path]:
    """Returns for each required provider a mirror with exactly its version, if there is one."""
    required = _required_providers(folder)
    found: dict[str, Path] = {}
    for mirror in (mirror for root in roots for mirror in _mirrors_below(root)):
        for provider, version in required:
            versions = mirror / provider
            unpacked, packed = versions / version, versions.glob(f"*_{version}_*.zip")
            if unpacked.is_dir() or any(packed):
                found.setdefault(provider, mirror)
    return found


def _mirrors_below(root: Path) -> Iterator[Path]:
    """Yields the folders with a mirror: the root itself, or up to two levels below."""
    for pattern in ("", "*/", "*/*/"):
        for registry in sorted(root.glob(f"{pattern}{_REGISTRY}")):
            yield registry.parent


def _required_providers(folder: Path) -> list[tuple[str, str]]:
    """Returns the providers in versions.tf with their exact versions."""
    file = folder / "versions.tf"
    text = file.read_text("utf-8") if file.is_file() else ""
    pairs = re.findall(r'source += +"([\w-]+/[\w-]+)"\s+version += +"(\d+\.\d+\.\d+)"', text)
    return [(f"{_REGISTRY}/{provider}", version) for provider, version in pairs]

#!/usr/bin/env python3
"""List what this machine has and lacks for superres, each with its remedy: `make doctor`.

`--for run` (the default) fails when something that `make run` needs is missing, `--for test` and
`--for local-test` also when something that the tests need is, `--for packages` when a Debian
package is. `--install` prints only what is missing, and installs what Debian has, as root or where
sudo needs no password; what it cannot install is named before anything is changed. Only the
standard library, and nothing newer than Python 3.8, since this runs before any environment exists.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30

OK, MISSING, OPTIONAL = "ok", "missing", "optional"
# Which groups of CHECKS each purpose needs.
NEEDED = {
    "run": ["run"],
    "test": ["run", "test"],
    "local-test": ["run", "test"],
    "packages": ["run", "test", "benchmark"],
}


class Finding(NamedTuple):
    """One line of the table."""

    name: str
    present: bool
    detail: str  # what was found, or what is wrong
    remedy: str = ""
    package: str = ""  # of Debian, that brings it
    group: str = ""  # of CHECKS

    def status(self, purpose: str) -> str:
        """Return ok, missing (fails) or optional (does not fail) for `make {purpose}`."""
        if self.present:
            return OK
        if purpose == "packages":
            return MISSING if self.package else OPTIONAL
        return MISSING if self.group in NEEDED[purpose] else OPTIONAL


def output(*command: str) -> str:
    """Return what a command prints, both streams; empty when it is absent, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout + done.stderr).strip()  # java prints its version on the latter


def python(version: str, use: str) -> Finding:
    """Look for a Python where `make setup` and `make localstack-setup` look."""
    path = output(str(ROOT / "scripts" / "find_python.sh"), version)
    remedy = (
        "Debian, where it has it: apt-get install python{0}-venv; anywhere: pyenv install {0}; "
        "elsewhere than on PATH: {1}=/path/to/python{0}"
    ).format(version, "PYTHON" if version == "3.11" else "PYTHON313")
    # Debian's Python comes without venv until its package is installed, and is not found above.
    bare = not path and bool(output("python" + version, "--version"))
    detail = path or ("without venv; " if bare else "not found; ") + use
    package = "python3-venv" if bare and version == "3.11" else ""
    return Finding("Python " + version, bool(path), detail, remedy, package)


def java() -> Finding:
    """Look at the Java that Spark would start: JAVA_HOME's, else the one on PATH; 17 or newer."""
    home = os.environ.get("JAVA_HOME", "")
    command = str(Path(home) / "bin" / "java") if home else "java"
    where = "JAVA_HOME=" + home if home else shutil.which("java") or "java"
    match = re.search(r'version "(\d+)', output(command, "-version"))
    if match is None:
        detail = "no java there: " + where if home else "java not found, JAVA_HOME not set"
    else:
        detail = f"Java {match.group(1)} ({where})"
    return Finding(
        "Java 17",
        match is not None and int(match.group(1)) >= 17,
        detail,
        "Debian: apt-get install openjdk-17-jdk-headless; or point JAVA_HOME at a Java 17",
        # Where JAVA_HOME names another one, an installed package would not be used.
        "" if home else "openjdk-17-jdk-headless",
    )


def tool(
    name: str,
    command: str,
    pattern: str,
    remedy: str,
    ask: str = "--version",
    least: tuple[int, ...] = (),
    package: str = "",
) -> Finding:
    """Look for a command on PATH that prints its version, and perhaps for one new enough."""
    path = shutil.which(command)
    match = re.search(pattern, output(command, ask)) if path else None
    if path is None:
        detail = command + " not found"
    elif match is None:
        detail = f"does not print its version ({path})"
    else:
        detail = f"{match.group(1)} ({path})"
    found = match is not None and tuple(map(int, re.findall(r"\d+", match.group(1)))) >= least
    return Finding(name, found, detail, remedy, package)


def command(name: str, package: str) -> Finding:
    """Look for a command on PATH whose version does not matter."""
    path = shutil.which(name)
    remedy = "Debian: apt-get install " + package
    return Finding(name, bool(path), path or name + " not found", remedy, package)


def postgresql() -> Finding:
    """Look for a PostgreSQL server where Debian puts it; on PATH it has only clients."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path
    ]
    return Finding(
        "PostgreSQL",
        bool(found),
        str(found[-1].parent) if found else "no server found",
        "Debian: apt-get install postgresql",
        "postgresql",
    )


def disk() -> Finding:
    """Compare the free disk with what the environment takes (measured: 1.2 GB, tests 7 GB more)."""
    free = shutil.disk_usage(str(ROOT)).free / GIB
    return Finding(
        "Disk",
        free >= 3,
        f"{free:.0f} GiB free; run takes 3, tests 12 (torch)",
        "free some space or move the project",
    )


def memory() -> Finding:
    """Compare the memory with what a Spark master, worker, driver and executor take."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (ValueError, OSError):
        return Finding("Memory", True, "size unknown on this system; 4 GiB wanted")
    # A machine sold as 4 GiB shows a little less.
    return Finding(
        "Memory",
        total >= 3.5,
        f"{total:.1f} GiB; 4 wanted",
        "stop other programs or use a larger machine; SPARK_MASTER= uses a cluster elsewhere",
    )


def port(number: int, use: str, remedy: str) -> Finding:
    """Try to listen on a port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", number))
        except OSError:
            return Finding(f"Port {number}", False, "in use; wanted by " + use, remedy)
    return Finding(f"Port {number}", True, f"free ({use})")


def gpu() -> Finding:
    """Ask the driver for GPUs."""
    found = output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return Finding(
        "GPU",
        bool(found),
        found.replace("\n", "; ") or "none; CPUs do all the work",
        "for GPU inference and quick training: an NVIDIA driver for CUDA 12",
    )


def aws_credentials() -> Finding:
    """Look for credentials where AWS's clients look first, without printing any."""
    environment = os.environ
    shared = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"))
    if environment.get("AWS_ACCESS_KEY_ID"):
        detail = "from AWS_ACCESS_KEY_ID"
    elif environment.get("AWS_PROFILE"):
        detail = "from AWS_PROFILE=" + environment["AWS_PROFILE"]
    elif shared.expanduser().is_file():
        detail = f"from {shared}"
    else:
        return Finding(
            "AWS credentials",
            False,
            "none; only s3:// on AWS needs them",
            "`aws configure`, or set AWS_PROFILE",
        )
    return Finding("AWS credentials", True, detail)


def aws_command() -> Finding:
    """Look for AWS's command line with the plugin that opens shells and tunnels."""
    commands = ("aws", "session-manager-plugin")
    missing = [command for command in commands if not shutil.which(command)]
    detail = f"{' and '.join(missing)} not found; for tokens, shells and internal galleries on AWS"
    remedy = "docs.aws.amazon.com: install the AWS CLI, and the Session Manager plugin"
    return Finding(
        "AWS commands", not missing, detail if missing else str(shutil.which("aws")), remedy
    )


def port_setting(variable: str, default: int) -> int:
    """Return the port that a service would take."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else default


def debian_tool(command: str, pattern: str, name: str = "", package: str = "") -> Finding:
    """Look for a tool that Debian has, by default in a package of the same name."""
    package = package or command
    remedy = "Debian: apt-get install " + package
    return tool(name or command, command, pattern, remedy, package=package)


CHECKS: dict[str, list[Callable[[], Finding]]] = {
    "run": [
        lambda: python("3.11", "the project runs on it"),
        java,
        lambda: debian_tool("mvn", r"Maven ([\d.]+)", "Maven", "maven"),
        lambda: debian_tool("make", r"Make ([\d.]+)"),
        disk,
        memory,
    ],
    "test": [
        lambda: python("3.13", "LocalStack runs on it"),
        lambda: tool(
            "Terraform",
            "terraform",
            r"Terraform v(\S+)",
            "1.11 or newer, for tests and AWS: developer.hashicorp.com/terraform/install",
            least=(1, 11),
        ),
        lambda: tool("Go", "go", r"go(\d\S+)", "for `make infra-tools`: go.dev/dl", "version"),
        lambda: debian_tool("chromium", r"Chromium ([\d.]+)", "Chromium"),
        lambda: debian_tool("npm", r"^([\d.]+)"),
        lambda: debian_tool("shellcheck", r"version: (\S+)"),
        postgresql,
    ],
    "benchmark": [lambda: command("wrk", "wrk")],
    "": [
        lambda: port(
            port_setting("LOCALSTACK_PORT", 4566),
            "LocalStack",
            "make local-down, or another: LOCALSTACK_PORT=4567",
        ),
        lambda: port(
            port_setting("KAFKA_PORT", 9092),
            "Kafka",
            "make kafka-down, or another: KAFKA_PORT=9192",
        ),
        lambda: port(
            port_setting("SUPERRES_NOTIFIER__PORT", 8080),
            "the gallery, which then takes another",
            "to choose one: SUPERRES_NOTIFIER__PORT=8090",
        ),
        lambda: port(
            port_setting("SUPERRES_INGESTION__UPLOAD_PORT", 8081),
            "uploads (make run FOLLOW=1)",
            "another: SUPERRES_INGESTION__UPLOAD_PORT=8091",
        ),
        lambda: port(
            port_setting("SUPERRES_INGESTION__CONSUMER_PORT", 9101),
            "the consumer's metrics and health",
            "another: SUPERRES_INGESTION__CONSUMER_PORT=9201, or 0 for any",
        ),
        gpu,
        aws_credentials,
        aws_command,
    ],
}


def look(groups: Iterable[str]) -> list[Finding]:
    """Return what the checks of these groups find."""
    return [check()._replace(group=group) for group in groups for check in CHECKS[group]]


def table(findings: list[Finding], purpose: str) -> str:
    """Return the findings as text, the remedy under each that is not there."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        status = finding.status(purpose)
        lines.append("{:8}  {:{}}  {}".format(status, finding.name, width, finding.detail))
        if status != OK:
            lines.append(" " * (width + 12) + "→ " + finding.remedy)
    return "\n".join(lines)


def apt_get() -> list[str] | None:
    """Return apt-get as root runs it; None where there is none or sudo wants a password."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return ["apt-get"]
    allowed = shutil.which("sudo") and subprocess.call(
        ["sudo", "-n", "true"], stderr=subprocess.DEVNULL
    )
    return ["sudo", "-n", "apt-get"] if allowed == 0 else None


def missing_for(purpose: str) -> list[Finding]:
    """Return what keeps `make {purpose}` from starting; a small disk or memory only warns."""
    missing = []
    for finding in look(NEEDED[purpose]):
        if finding.status(purpose) != MISSING or (purpose == "run" and can_do_without(finding)):
            continue
        if finding.name in ("Disk", "Memory"):
            print(f"warning: {finding.name}: {finding.detail} → {finding.remedy}", file=sys.stderr)
            continue
        missing.append(finding)
    return missing


def can_do_without(finding: Finding) -> bool:
    """Return whether `make run` needs it no more: Maven only fetches Kafka, once."""
    fetched = (ROOT / "scripts" / "kafka" / "lib" / ".fetched").exists()
    another = bool(os.environ.get("SUPERRES_KAFKA__BOOTSTRAP_SERVERS"))
    return finding.name == "Maven" and (fetched or another)


def install(purpose: str) -> int:
    """Install the Debian packages that are missing; name first what this cannot install."""
    missing = missing_for(purpose)
    packages = [finding.package for finding in missing if finding.package]
    apt = apt_get()
    blocked = [finding for finding in missing if not (finding.package and apt)]
    name_missing(blocked)
    if packages and apt is None and shutil.which("apt-get"):
        print("or all of Debian's: sudo apt-get install " + " ".join(packages), file=sys.stderr)
    if blocked:
        print("nothing was installed or started", file=sys.stderr)
        return 1
    if not packages or apt is None:
        return 0
    print("Installing Debian packages: " + " ".join(packages), flush=True)
    quiet = ["-qq", "--yes", "--no-install-recommends"]
    for arguments in (["update", "-qq"], ["install", *quiet, *packages]):
        done = subprocess.run(
            [*apt, *arguments],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode != 0:
            print("apt-get " + arguments[0] + " failed; see its message above", file=sys.stderr)
            return 1
    still = missing_for(purpose)  # the command on PATH may be another than the package's
    name_missing(still)
    return 1 if still else 0


def name_missing(findings: list[Finding]) -> None:
    """Print a line for each."""
    for finding in findings:
        print(f"missing: {finding.name}: {finding.detail} → {finding.remedy}", file=sys.stderr)


def main() -> int:
    """Print the table; return 1 when something needed is missing."""
    parser = argparse.ArgumentParser(description="List prerequisites with remedies.")
    parser.add_argument(
        "--for", dest="purpose", choices=["run", "test", "local-test", "packages"], default="run"
    )
    parser.add_argument(
        "--install", action="store_true", help="install what Debian has, print only what is missing"
    )
    options = parser.parse_args()
    purpose = options.purpose
    if options.install:
        return install(purpose)
    findings = look(CHECKS)
    missing = [finding for finding in findings if finding.status(purpose) == MISSING]
    print(table(findings, purpose))
    if missing:
        names = ", ".join(finding.name for finding in missing)
        print(f"\n`make {purpose}` lacks: {names}")
        return 1
    print(f"\n`make {purpose}` has all it needs.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Tell what this machine has and lacks for superres, each with its remedy: `make doctor`.

Only the standard library, and nothing newer than Python 3.8, since it runs before any
environment exists. `--for run` (the default) fails when something that `make run` needs is
missing, `--for test` and `--for local-test` also when something that the tests need is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30

OK, MISSING, OPTIONAL = "ok", "missing", "optional"


class Finding(NamedTuple):
    """One line of the table."""

    name: str
    needed_for: str  # "run", "test" or "" for what neither needs
    present: bool
    detail: str  # what was found, or what is wrong
    remedy: str = ""

    def status(self, purpose: str) -> str:
        """Return ok, missing (fails) or optional (does not fail) for `make {purpose}`."""
        if self.present:
            return OK
        needed = self.needed_for == "run" or (self.needed_for == "test" and purpose != "run")
        return MISSING if needed else OPTIONAL


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
    return (done.stdout + done.stderr).strip()  # java tells its version on the latter


def python(version: str, needed_for: str, use: str) -> Finding:
    """Look for a Python where `make setup` and `make localstack-setup` look."""
    path = output(str(ROOT / "scripts" / "find_python.sh"), version)
    remedy = (
        "Debian, where it has it: apt-get install python{0}-venv; anywhere: pyenv install {0}; "
        "elsewhere than on PATH: {1}=/path/to/python{0}"
    ).format(version, "PYTHON" if version == "3.11" else "PYTHON313")
    return Finding("Python " + version, needed_for, bool(path), path or "not found; " + use, remedy)


def java() -> Finding:
    """Look at the Java that Spark would start: JAVA_HOME's, else the one on PATH."""
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
        "run",
        match is not None and match.group(1) == "17",
        detail,
        "Debian: apt-get install openjdk-17-jdk-headless; or point JAVA_HOME at a Java 17",
    )


def tool(
    name: str,
    command: str,
    needed_for: str,
    pattern: str,
    remedy: str,
    ask: str = "--version",
    least: tuple[int, ...] = (),
) -> Finding:
    """Look for a command on PATH that tells its version, and perhaps for one new enough."""
    path = shutil.which(command)
    match = re.search(pattern, output(command, ask)) if path else None
    if path is None:
        detail = command + " not found"
    elif match is None:
        detail = f"does not tell its version ({path})"
    else:
        detail = f"{match.group(1)} ({path})"
    found = match is not None and tuple(map(int, re.findall(r"\d+", match.group(1)))) >= least
    return Finding(name, needed_for, found, detail, remedy)


def disk() -> Finding:
    """Compare the free disk with what the environment takes (measured: 1.2 GB, tests 7 GB more)."""
    free = shutil.disk_usage(str(ROOT)).free / GIB
    return Finding(
        "Disk",
        "run",
        free >= 3,
        f"{free:.0f} GiB free; run takes 3, tests 12 (torch)",
        "free some space or move the project",
    )


def memory() -> Finding:
    """Compare the memory with what a Spark master, worker, driver and executor take."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    except (ValueError, OSError):
        return Finding("Memory", "", True, "size unknown on this system; 4 GiB wanted")
    # A machine sold as 4 GiB shows a little less.
    return Finding(
        "Memory",
        "run",
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
            return Finding(f"Port {number}", "", False, "in use; wanted by " + use, remedy)
    return Finding(f"Port {number}", "", True, f"free ({use})")


def gpu() -> Finding:
    """Ask the driver for GPUs."""
    found = output("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader")
    return Finding(
        "GPU",
        "",
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
            "",
            False,
            "none; only s3:// on AWS needs them",
            "`aws configure`, or set AWS_PROFILE",
        )
    return Finding("AWS credentials", "", True, detail)


def port_setting(variable: str, default: int) -> int:
    """Return the port that `make local-up` or `make kafka-up` would take."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else default


CHECKS: list[Callable[[], Finding]] = [
    lambda: python("3.11", "run", "the project runs on it"),
    java,
    lambda: tool("Maven", "mvn", "run", r"Maven ([\d.]+)", "Debian: apt-get install maven"),
    lambda: tool("make", "make", "run", r"Make ([\d.]+)", "Debian: apt-get install make"),
    disk,
    memory,
    lambda: python("3.13", "test", "LocalStack runs on it"),
    lambda: tool(
        "Terraform",
        "terraform",
        "test",
        r"Terraform v(\S+)",
        "1.11 or newer, for tests and AWS: developer.hashicorp.com/terraform/install",
        least=(1, 11),
    ),
    lambda: tool("Go", "go", "test", r"go(\d\S+)", "for `make infra-tools`: go.dev/dl", "version"),
    lambda: tool("Chromium", "chromium", "test", r"Chromium ([\d.]+)", "make system-packages"),
    lambda: tool("npm", "npm", "test", r"^([\d.]+)", "make system-packages"),
    lambda: tool("shellcheck", "shellcheck", "test", r"version: (\S+)", "make system-packages"),
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
    gpu,
    aws_credentials,
]


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


def main() -> int:
    """Print the table; return 1 when something needed is missing."""
    parser = argparse.ArgumentParser(description="List prerequisites with remedies.")
    parser.add_argument(
        "--for", dest="purpose", choices=["run", "test", "local-test"], default="run"
    )
    purpose = parser.parse_args().purpose
    findings = [check() for check in CHECKS]
    print(table(findings, purpose))
    missing = [f.name for f in findings if f.status(purpose) == MISSING]
    if missing:
        print("\n`make {}` lacks: {}".format(purpose, ", ".join(missing)))
        return 1
    print(f"\n`make {purpose}` has all it needs.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The project's own tools: the Makefile, the doctor, the locks, the wheel."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.required_tools import require

LOCKS = [*sorted(ROOT.glob("requirements/*.txt")), ROOT / "localstack" / "requirements.txt"]


def run(*command: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    chosen = ("KAFKA_", "LOCALSTACK_")  # ports that a developer may have chosen
    users = {name: text for name, text in os.environ.items() if not name.startswith(chosen)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env={**users, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tracked_files() -> list[Path]:
    require("git", "make system-packages")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard")
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


def blocks(lock: Path) -> list[str]:
    """Split a lock file into one text per requirement, its hashes included."""
    return re.split(r"\n(?=\S)", lock.read_text().strip())


def pins(lock: Path) -> set[str]:
    """Names and versions, whatever systems they are for."""
    return {block.split(" \\")[0].split(" ;")[0].strip() for block in blocks(lock)}


def names(lock: Path) -> set[str]:
    return {re.split(r"==", pin)[0] for pin in pins(lock)}


# ---- make


def test_help_lists_every_target_with_one_line():
    targets = re.findall(r"^\.PHONY: (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = dict(re.findall(r"^  (\S+) +(\S.*)$", run("make", "help").stdout, re.MULTILINE))
    assert targets
    assert set(shown) == set(targets)


def test_make_alone_is_help():
    assert run("make").stdout == run("make", "help").stdout


@pytest.mark.parametrize(
    "target", ["setup", "run", "test", "local-up", "kafka-up", "benchmark", "lock"]
)
def test_targets_can_be_planned(target):
    planned = run("make", "--dry-run", target)
    assert planned.returncode == 0, planned.stderr


def test_run_passes_its_variables_on():
    planned = run(
        "make", "--dry-run", "run", "SOURCE=my photos", "SCALE=4", "SPARK_MASTER=spark://h:1"
    )
    assert 'SOURCE="my photos"' in planned.stdout
    assert 'SCALE="4"' in planned.stdout
    assert 'SPARK_MASTER="spark://h:1"' in planned.stdout


# ---- the doctor


PREREQUISITES = (
    *("Python 3.11", "Java 17", "Maven", "make", "Python 3.13", "Terraform", "Go"),
    *("Chromium", "npm", "shellcheck", "wrk", "PostgreSQL"),
    *("Disk", "Memory", "Port 4566", "Port 9092", "GPU", "AWS credentials", "AWS commands"),
)


def doctor(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return run(sys.executable, ROOT / "scripts" / "doctor.py", *arguments, **environment)


@pytest.mark.slow
def test_doctor_names_every_prerequisite():
    report = doctor().stdout
    for name in PREREQUISITES:
        assert re.search(rf"^(ok|missing|optional) +{name} ", report, re.MULTILINE), name


def test_doctor_fails_on_a_bare_machine_and_gives_remedies(tmp_path):
    bare = doctor(PATH=str(tmp_path), JAVA_HOME="", PYTHON="")
    assert bare.returncode == 1
    lines = bare.stdout.splitlines()
    missing = [index for index, line in enumerate(lines) if line.startswith("missing")]
    assert len(missing) >= 4
    assert all("→" in lines[index + 1] for index in missing)
    assert lines[-1] == "`make run` lacks: Python 3.11, Java 17, Maven, make"


def test_doctor_asks_more_for_tests_than_for_run(tmp_path):
    for purpose, status in (("run", "optional"), ("test", "missing"), ("local-test", "missing")):
        report = doctor("--for", purpose, PATH=str(tmp_path)).stdout
        assert re.search(rf"^{status} +shellcheck", report, re.MULTILINE)


@pytest.mark.slow
def test_doctor_refuses_another_java(tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    java.chmod(0o755)
    report = doctor(JAVA_HOME=str(tmp_path))
    assert report.returncode == 1
    assert f"Java 11 (JAVA_HOME={tmp_path})" in report.stdout


@pytest.mark.slow
def test_doctor_refuses_a_terraform_that_is_too_old(tmp_path):
    terraform = tmp_path / "terraform"
    terraform.write_text("#!/bin/sh\necho 'Terraform v1.5.7'\n")
    terraform.chmod(0o755)
    report = doctor("--for", "local-test", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert report.returncode == 1
    assert re.search(r"^missing +Terraform +1\.5\.7", report.stdout, re.MULTILINE)


@pytest.mark.slow
def test_doctor_names_a_port_in_use():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        report = doctor(LOCALSTACK_PORT=str(port)).stdout
    assert re.search(rf"^optional +Port {port} +in use", report, re.MULTILINE)


@pytest.mark.slow
def test_doctor_never_prints_a_secret():
    report = doctor(AWS_ACCESS_KEY_ID="AKIAEXAMPLE", AWS_SECRET_ACCESS_KEY="wordwordword")
    assert "AKIAEXAMPLE" not in report.stdout
    assert "wordwordword" not in report.stdout


# ---- what the doctor installs


def fake_tools(folder: Path, **scripts: str) -> str:
    """A PATH with these shell scripts, and the few programs that the doctor itself needs."""
    folder.mkdir()
    for name in ("bash", "dirname", "sh"):
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, script in scripts.items():
        (folder / name.replace("_", "-")).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name.replace("_", "-")).chmod(0o755)
    return str(folder)


PRINTS_VERSION = {
    "java": "echo 'openjdk version \"17.0.1\"'",
    "mvn": "echo 'Apache Maven 3.8.7'",
    "make": "echo 'GNU Make 4.3'",
}


def test_what_debian_has_is_installed_and_nothing_is_printed_when_all_is_there(tmp_path):
    log = tmp_path / "apt.log"
    java = tmp_path / "tools" / "java"
    # apt-get writes down what it is asked for, and Java is there after that.
    apt = f'echo "$@" >> {log}; [ "$1" = update ] || {{ mv {java}.later {java}; }}'
    there = {name: script for name, script in PRINTS_VERSION.items() if name != "java"}
    sudo = 'shift; [ "$1" = true ] || exec "$@"'
    path = fake_tools(tmp_path / "tools", **there, apt_get=apt, sudo=sudo)
    (tmp_path / "tools" / "mv").symlink_to(shutil.which("mv") or "mv")
    (tmp_path / "tools" / "java.later").write_text(f"#!/bin/sh\n{PRINTS_VERSION['java']}\n")
    (tmp_path / "tools" / "java.later").chmod(0o755)
    environment = {"PATH": path, "JAVA_HOME": "", "PYTHON": sys.executable}
    installed = doctor("--install", **environment)
    assert installed.returncode == 0, installed.stderr
    assert installed.stdout == "Installing Debian packages: openjdk-17-jdk-headless\n"
    assert [line.split()[0] for line in log.read_text().splitlines()] == ["update", "install"]
    assert log.read_text().splitlines()[1].endswith(" openjdk-17-jdk-headless")
    again = doctor("--install", **environment)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_broker_elsewhere_or_one_that_was_fetched_needs_no_maven(tmp_path):
    there = {name: script for name, script in PRINTS_VERSION.items() if name != "mvn"}
    path = fake_tools(tmp_path / "tools", **there)
    environment = {"PATH": path, "JAVA_HOME": "", "PYTHON": sys.executable}
    done = doctor("--install", SUPERRES_KAFKA__BOOTSTRAP_SERVERS="kafka:9092", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_still_missing_after_the_installation_is_named(tmp_path):
    there = {name: script for name, script in PRINTS_VERSION.items() if name != "java"}
    path = fake_tools(
        tmp_path / "tools",
        **there,
        java="echo 'openjdk version \"11.0.2\"'",  # on PATH before the package's
        apt_get="true",
        sudo='shift; [ "$1" = true ] || exec "$@"',
    )
    done = doctor("--install", PATH=path, JAVA_HOME="", PYTHON=sys.executable)
    assert done.returncode == 1
    assert "missing: Java 17: Java 11" in done.stderr


def test_what_cannot_be_installed_is_named_before_anything_is_changed(tmp_path):
    log = tmp_path / "apt.log"
    path = fake_tools(tmp_path / "tools", apt_get=f'echo "$@" >> {log}', sudo="exit 1")
    bare = doctor("--for", "local-test", "--install", PATH=path, JAVA_HOME="", PYTHON="")
    assert bare.returncode == 1
    assert not log.exists()
    for name in ("Terraform", "Go"):
        assert f"missing: {name}: " in bare.stderr
    assert bare.stderr.splitlines()[-1] == "nothing was installed or started"
    assert bare.stdout == ""


def test_a_package_that_apt_does_not_have_is_an_error(tmp_path):
    there = {name: script for name, script in PRINTS_VERSION.items() if name != "java"}
    failing = "echo 'E: Unable to locate package' >&2; exit 100"
    path = fake_tools(
        tmp_path / "tools", **there, apt_get=failing, sudo='shift; [ "$1" = true ] || exec "$@"'
    )
    failed = doctor("--install", PATH=path, JAVA_HOME="", PYTHON=sys.executable)
    assert failed.returncode == 1
    assert "E: Unable to locate package" in failed.stderr
    assert "apt-get update failed" in failed.stderr


# ---- missing tools


def test_a_missing_tool_skips_here_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-tool is missing; remedy: make it"):
        require("no-such-tool", "make it")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-tool is missing; remedy: make it"):
        require("no-such-tool", "make it")
    require("sh", "…")
    require("anything", "…", found=True)


def test_a_missing_python_is_named_with_its_remedy():
    found = run(ROOT / "scripts" / "find_python.sh", "3.99")
    assert found.returncode == 1
    (line,) = found.stderr.splitlines()
    assert "Python 3.99" in line
    assert "install it" in line


# ---- locks


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))
def test_every_requirement_is_pinned_and_hashed(lock):
    for block in blocks(lock):
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==\S+", block), block.splitlines()[0]
        assert "--hash=sha256:" in block, block.splitlines()[0]
        assert "://" not in block


def test_roles_agree_on_versions():
    dev = pins(ROOT / "requirements" / "dev.txt")
    for role in ("run", "gpu", "train", "ingestion", "notifier"):
        assert pins(ROOT / "requirements" / f"{role}.txt") <= dev


def test_only_those_who_need_torch_install_it():
    for role, wanted in {
        "run": False,
        "ingestion": False,
        "notifier": False,
        "gpu": True,
        "train": True,
        "dev": True,
    }.items():
        assert ("torch" in names(ROOT / "requirements" / f"{role}.txt")) == wanted


def test_locks_hold_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for role in ("run", "ingestion", "notifier", "gpu", "train", "dev"):
        wanted = project["dependencies"] + extras[role]
        asked = {re.split(r"[^\w.-]", text)[0].lower() for text in wanted} - {"superres"}
        assert asked <= names(ROOT / "requirements" / f"{role}.txt")


def test_no_file_names_a_registry_address():
    address = re.compile(r"://[^\s\"'<>)]*(pypi|pythonhosted|maven|npmjs|registry|crates|deb\.)")
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content:
            found = address.findall(content.decode("utf-8", "replace"))
            assert not found, path.relative_to(ROOT)


# ---- the wheel


def test_the_wheel_holds_the_packages_and_the_weights(tmp_path):
    built = run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("superres-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    packages = {"superres", "jobs", "ingestion", "notifier"}
    files = [path for package in packages for path in (ROOT / package).rglob("*")]
    kinds = {".py", ".safetensors", ".onnx", ".html", ".css", ".js", ".svg"}
    wanted = {
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix in kinds and not {"__pycache__", "state"} & set(path.parts)
    }
    assert wanted <= held
    assert not any(name.startswith("superres/training/state/") for name in held)
    assert {name.split("/")[0] for name in held if ".dist-info/" not in name} == packages

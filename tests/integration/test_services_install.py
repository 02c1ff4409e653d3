"""infra/services/install.sh installs services, here below a folder and without systemd.

The release is tiny: a wheel whose `superres` command prints how it was started, and a wheelhouse
whose `boto3` reads secrets from a file. A stand-in for `aws` copies from a folder.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.support.paths import ROOT
from tests.support.required_tools import require
from tests.support.wheels import make_wheel

SCRIPT = ROOT / "infra" / "services" / "install.sh"
TOKEN = "only-in-the-environment-0123456789"
COMMAND = """
import json, os, sys

def main():
    started = {"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
    print(json.dumps(started))
"""
BOTO3 = """
import json, os
from pathlib import Path

class _Exceptions:
    class ResourceNotFoundException(Exception):
        pass

    class ResourceExistsException(Exception):
        pass

class _Client:
    exceptions = _Exceptions

    def _known(self):
        return json.loads(Path(os.environ["SECRETS_OF_TEST"]).read_text())

    def get_secret_value(self, SecretId):
        try:
            value, version = self._known()[SecretId]
        except KeyError:
            raise self.exceptions.ResourceNotFoundException(SecretId) from None
        return {"SecretString": value, "VersionId": version}

def client(name):
    assert name == "secretsmanager"
    return _Client()
"""
AWS = """#!/usr/bin/env bash
set -euo pipefail
[[ "$1 $2 $3" == "s3 cp --only-show-errors" ]]
echo "$4" >>"$BUCKET_OF_TEST.log"
cp "$BUCKET_OF_TEST/${4#s3://}" "$5"
"""


@dataclass(frozen=True)
class Machine:
    """A folder that stands for a machine, and what its user data exports."""

    folder: Path
    exports: Mapping[str, str]

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def home(self) -> Path:
        return self.root / "opt" / "superres"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets.json"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "BUCKET_OF_TEST": str(self.folder / "bucket"),
            "SECRETS_OF_TEST": str(self.secrets),
            "HOME": str(self.folder),
        }

    def install(self, **changed: str) -> "subprocess.CompletedProcess[str]":
        environment = self.environment | dict(self.exports) | changed
        return subprocess.run(
            ["bash", str(SCRIPT)],
            env={name: value for name, value in environment.items() if value},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, unit: str, *arguments: str, **changed: str) -> dict[str, object]:
        started = self.try_start(unit, *arguments, **changed)
        assert started.returncode == 0, started.stderr
        printed: dict[str, object] = json.loads(started.stdout)
        return printed

    def try_start(
        self, unit: str, *arguments: str, **changed: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.home / "bin" / unit), *arguments],
            env=self.environment | changed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def downloads(self) -> list[str]:
        log = Path(f"{self.environment['BUCKET_OF_TEST']}.log")
        return log.read_text().split() if log.exists() else []


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_machine(folder: Path) -> Machine:
    """Returns a machine with an `aws` command, and a bucket with a release."""
    bucket, commands = folder / "bucket" / "artifacts", folder / "bin"
    bucket.mkdir(parents=True)
    commands.mkdir()
    for name, text in {"aws": AWS, "sleep": "#!/bin/sh\n"}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    wheel = make_wheel(
        bucket, "superres", {"superres.py": COMMAND}, "1", command="superres = superres:main"
    )
    exceptions = "class BotoCoreError(Exception): ...\nclass ClientError(Exception): ...\n"
    files = {"boto3.py": BOTO3, "botocore/__init__.py": "", "botocore/exceptions.py": exceptions}
    library = make_wheel(folder, "boto3", files, "1")
    (folder / "requirements.txt").write_text(f"boto3==1 --hash=sha256:{digest_of(library)}\n")
    wheelhouse = bucket / "ingestion.tar"
    with tarfile.open(wheelhouse, "w") as archive:
        for each in (library, folder / "requirements.txt"):
            archive.add(each, each.name)
    config = bucket / "dev.yaml"
    config.write_text("processing:\n  upscale_factor: 4\n")
    parts = {"WHEEL": wheel, "WHEELHOUSE": wheelhouse, "CONFIG": config}
    exports = {f"SUPERRES_{part}": f"s3://artifacts/{path.name}" for part, path in parts.items()}
    exports |= {f"SUPERRES_{part}_SHA256": digest_of(path) for part, path in parts.items()}
    machine = Machine(
        folder,
        exports
        | {
            "SUPERRES_ROOT": str(folder / "root"),
            "SUPERRES_PYTHON": sys.executable,
            "SUPERRES_UNITS": "consume uploads start-runs notify",
            "SUPERRES_LOG_GROUP": "/superres-dev/services/all",
            "SUPERRES_SECRETS": "uploads:SUPERRES_UPLOAD_TOKEN=dev/upload "
            "uploads:OTHER=dev/db#password",
            "SUPERRES_INGESTION__UPLOAD_PORT": "9999",
            "SUPERRES_KAFKA__TOPIC": "it's a $HOME",
            "AWS_DEFAULT_REGION": "eu-central-1",
        },
    )
    database = json.dumps({"username": "superres", "password": "of the database"})
    machine.secrets.write_text(
        json.dumps({"dev/upload": [TOKEN, "first"], "dev/db": [database, "first"]})
    )
    return machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing is installed."""
    return make_machine(tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine on which every unit is installed."""
    machine = make_machine(tmp_path_factory.mktemp("machine"))
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"start consume: {machine.home}/bin/consume",
        f"start uploads: {machine.home}/bin/uploads",
        f"start start-runs: {machine.home}/bin/start-runs",
        f"start notify: {machine.home}/bin/notify",
        "superres install: done",
    ]
    return machine


def test_the_agent_sends_the_journal_of_each_unit_to_a_stream_of_its_own(installed):
    config = json.loads((installed.home / "cloudwatch-agent.json").read_text())
    collected = config["logs"]["logs_collected"]
    journals = collected["journald"]["collect_list"]
    assert {each["log_stream_name"]: each["units"] for each in journals} == {
        f"{{instance_id}}/{unit}": [f"superres-{unit}.service", f"superres-{unit}-check.service"]
        for unit in ("consume", "uploads", "start-runs", "notify")
    }
    for unit in ("consume", "uploads", "start-runs", "notify"):
        for suffix in (".service", "-check.service"):
            assert (installed.root / f"etc/systemd/system/superres-{unit}{suffix}").is_file()
    (installation,) = collected["files"]["collect_list"]
    assert installation["file_path"] == "/var/log/cloud-init-output.log"
    groups = {each["log_group_name"] for each in [*journals, installation]}
    assert groups == {"/superres-dev/services/all"}


def test_without_a_log_group_nothing_is_sent(machine):
    done = machine.install(SUPERRES_LOG_GROUP="", SUPERRES_UNITS="notify")
    assert done.returncode == 0, done.stderr
    assert not (machine.home / "cloudwatch-agent.json").exists()


def test_a_unit_starts_with_its_settings_and_secrets(installed):
    started = installed.start("uploads", "--port", "0")
    assert started["arguments"] == [
        "uploads", "--config", f"{installed.home}/config.yaml", "--port", "0",
    ]  # fmt: skip
    assert started["folder"] == f"{installed.root}/var/lib/superres-uploads"
    expected = {
        "SUPERRES_UPLOAD_TOKEN": TOKEN,
        "OTHER": "of the database",
        "SUPERRES_INGESTION__UPLOAD_PORT": "9999",
        "SUPERRES_KAFKA__TOPIC": "it's a $HOME",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "TMPDIR": f"{installed.root}/var/lib/superres-uploads",
    }
    assert {name: started["environment"].get(name) for name in expected} == expected


def test_uploads_without_a_consumer_have_its_memory_and_a_command_to_ingest(machine):
    done = machine.install(SUPERRES_UNITS="uploads", SUPERRES_KAFKA__ENABLED="false")
    assert done.returncode == 0, done.stderr
    assert "MemoryMax=75%\n" in _service(machine.root / "etc/systemd/system", "uploads")
    started = machine.start("ingest", "s3://raw/uploads/new")
    assert started["arguments"][0] == "ingest"
    assert started["environment"]["SUPERRES_KAFKA__ENABLED"] == "false"
    assert not (machine.home / "bin" / "produce").exists()


def test_uploads_beside_a_consumer_leave_it_the_memory(units):
    assert "MemoryMax=25%\n" in _service(units, "uploads")


def test_a_unit_does_not_have_the_secrets_of_another(installed):
    for unit in ("consume", "produce", "start-runs", "notify"):
        assert TOKEN not in json.dumps(installed.start(unit))


def test_no_file_contains_a_secret(installed):
    installed.start("uploads")
    files = [path for path in installed.root.rglob("*") if path.is_file()]
    assert installed.home / "bin" / "uploads" in files
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []


def test_a_replaced_secret_is_detected(installed):
    installed.start("uploads")
    check = re.search(r"^RUNTIME_DIRECTORY=\S+ (.*)$", _check_of(installed, "uploads"), re.M)
    assert check is not None
    folder = f"{installed.root}/var/lib/superres-uploads"

    def run_check() -> int:
        environment = installed.environment | {"RUNTIME_DIRECTORY": folder}
        return subprocess.run(
            ["bash", "-c", check[1]], env=environment, timeout=60, check=False
        ).returncode

    known = installed.secrets.read_text()
    assert run_check() == 0
    try:
        installed.secrets.write_text(known.replace("first", "second"))
        assert run_check() == 3
    finally:
        installed.secrets.write_text(known)


def _check_of(machine: Machine, unit: str) -> str:
    return (machine.home / "bin" / f"check-{unit}").read_text()


def test_a_check_uses_the_port_of_its_unit(installed):
    assert "http://127.0.0.1:9999/healthz" in _check_of(installed, "uploads")
    assert "http://127.0.0.1:9101/healthz" in _check_of(installed, "consume")
    assert "http://127.0.0.1:9102/healthz" in _check_of(installed, "start-runs")


def test_a_missing_secret_is_one_line(installed, tmp_path):
    empty = tmp_path / "secrets.json"
    empty.write_text(json.dumps({"dev/upload": [TOKEN, "first"], "dev/db": ["{}", "first"]}))
    failed = installed.try_start("uploads", SECRETS_OF_TEST=str(empty))
    assert failed.returncode == 1
    assert failed.stderr.splitlines() == ["superres: secret dev/db: KeyError"]


def test_only_missing_files_are_downloaded(machine):
    assert machine.install().returncode == 0
    first = machine.downloads()
    assert machine.install().returncode == 0
    assert machine.downloads()[len(first) :] == ["s3://artifacts/dev.yaml"]

    other = COMMAND.replace('"arguments"', '"newer": True, "arguments"')
    bucket = machine.folder / "bucket" / "artifacts"
    wheel = make_wheel(
        bucket, "superres", {"superres.py": other}, "1", command="superres = superres:main"
    )
    done = machine.install(SUPERRES_WHEEL_SHA256=digest_of(wheel))
    assert done.returncode == 0, done.stderr
    assert machine.start("consume")["newer"] is True


@pytest.mark.parametrize("part", ["WHEEL", "WHEELHOUSE", "CONFIG"])
def test_a_file_with_another_digest_is_not_installed(machine, part):
    done = machine.install(**{f"SUPERRES_{part}_SHA256": "0" * 64})
    assert done.returncode == 1
    uri = machine.exports[f"SUPERRES_{part}"]
    assert done.stderr.splitlines() == [
        f"superres install: {uri}: its SHA-256 is not {'0' * 64}; deploy again"
    ]
    assert not (machine.home / "installed").exists()
    assert not (machine.home / "bin" / "consume").exists()


def test_a_failed_download_is_retried_and_reported(machine):
    done = machine.install(SUPERRES_CONFIG="s3://artifacts/absent.yaml")
    assert done.returncode == 1
    assert machine.downloads() == ["s3://artifacts/absent.yaml"] * 5
    assert done.stderr.splitlines()[-1] == (
        "superres install: s3://artifacts/absent.yaml: cannot be downloaded; does it exist, "
        "and may this machine read it?"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"SUPERRES_UNITS": ""}, "SUPERRES_UNITS is not set; see the head of"),
        ({"SUPERRES_WHEEL_SHA256": ""}, "SUPERRES_WHEEL_SHA256 is not set"),
        (
            {"SUPERRES_PYTHON": "python0.9"},
            "no python0.9 on PATH; install it, or set SUPERRES_PYTHON",
        ),
        ({"SUPERRES_UNITS": "consumer"}, "there is no unit consumer; there are consume, uploads"),
    ],
)
def test_a_wrong_setting_is_reported_in_one_line(machine, changed, message):
    done = machine.install(**changed)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


# ---- systemd


@pytest.fixture
def units(installed: Machine) -> Path:
    """The folder of all units."""
    return installed.root / "etc" / "systemd" / "system"


def _analyze(*arguments: str) -> "subprocess.CompletedProcess[str]":
    require("systemd-analyze", "apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_accepts_the_units(units):
    files = sorted(str(path) for path in units.iterdir())
    assert len(files) == 12
    seen = _analyze("verify", "--man=no", *files)
    assert (seen.returncode, seen.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["consume", "uploads", "notify"])
def test_the_units_are_hardened(units, unit):
    # systemd rates exposure from 0 (safe) to 10; a unit without hardening has 9.6. What remains is
    # the network, which these services need.
    file = str(units / f"superres-{unit}.service")
    seen = _analyze("security", "--offline=true", "--no-pager", "--threshold=20", file)
    assert seen.returncode == 0, seen.stdout


def test_systemd_waits_for_a_stop_longer_than_the_services_take(units):
    from notifier.cli import notify
    from superres.pipeline.config import Ingestion

    patience = {
        unit: int(re.search(r"^TimeoutStopSec=(\d+)$", _service(units, unit), re.M)[1])
        for unit in ("consume", "uploads", "start-runs", "notify")
    }
    longest_drain = next(
        each.le for each in Ingestion.model_fields["drain_seconds"].metadata if hasattr(each, "le")
    )
    for unit in ("consume", "uploads", "start-runs"):
        assert patience[unit] >= longest_drain + 10
    assert patience["notify"] >= notify._DRAIN_SECONDS + 10


def _service(units: Path, unit: str) -> str:
    return (units / f"superres-{unit}.service").read_text()


# ---- Secrets Manager


@pytest.mark.localstack
def test_only_one_of_several_units_fills_an_empty_secret(aws_environment, installed, tmp_path):
    client = boto3.client("secretsmanager", endpoint_url=aws_environment.endpoint)
    client.create_secret(Name="install/token")
    starter = str(installed.home / "bin" / "with_secrets.py")
    shown = [sys.executable, "-c", "import os; print(os.environ['TOKEN'])"]

    def token(number: int) -> str:
        folder = tmp_path / str(number)
        folder.mkdir()
        return subprocess.run(
            [sys.executable, starter, "TOKEN=install/token", "--", *shown],
            env=os.environ | {"RUNTIME_DIRECTORY": str(folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.strip()

    with ThreadPoolExecutor(4) as pool:
        tokens = set(pool.map(token, range(4)))
    assert tokens == {client.get_secret_value(SecretId="install/token")["SecretString"]}
    assert re.fullmatch(r"[0-9a-f]{48}", tokens.pop())


def test_shellcheck_finds_nothing_in_the_script():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = str(shellcheck) if shellcheck.exists() else shutil.which("shellcheck")
    require("shellcheck", "make setup-dev", found=found is not None)
    assert found is not None
    seen = subprocess.run([found, SCRIPT], capture_output=True, text=True, check=False)
    assert seen.stdout == ""


def test_the_script_fits_into_user_data():
    # The limit of EC2 is 16,384 bytes, of which the exports before it need at most 3,000.
    assert len(SCRIPT.read_bytes()) < 13_000
    part = SCRIPT.read_text().partition("<<'PYTHON'\n")[2].partition("\nPYTHON\n")[0]
    ast.parse(part)

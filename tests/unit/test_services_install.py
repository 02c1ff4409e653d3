"""infra/services/install.sh puts a service onto a machine, here below a folder and without systemd.

The release is a tiny one: a wheel whose `superres` command writes down how it was started, and a
wheelhouse whose `boto3` reads secrets from a file. An `aws` of our own copies from a folder.
"""

import ast
import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.support.paths import ROOT
from tests.support.required_tools import require

SCRIPT = ROOT / "infra" / "services" / "install.sh"
TOKEN = "only-in-the-environment-0123456789"
COMMAND = """
import json, os, sys

def main():
    told = {"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
    print(json.dumps(told))
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
    """A folder that stands for a machine, and what its user data would export."""

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
        told: dict[str, object] = json.loads(started.stdout)
        return told

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

    def fetched(self) -> list[str]:
        log = Path(f"{self.environment['BUCKET_OF_TEST']}.log")
        return log.read_text().split() if log.exists() else []


def make_wheel(folder: Path, name: str, files: Mapping[str, str], command: str = "") -> Path:
    """A wheel of version 1 with these files, and perhaps a console script."""
    info = f"{name}-1.dist-info"
    content = dict(files)
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
    content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if command:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{command}\n"
    record = "".join(
        f"{path},sha256={_record_digest(text)},{len(text.encode())}\n"
        for path, text in content.items()
    )
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for each, text in content.items():
            wheel.writestr(each, text)
    return path


def _record_digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_machine(folder: Path) -> Machine:
    """A machine that has an `aws`, and a bucket with a release."""
    bucket, commands = folder / "bucket" / "artifacts", folder / "bin"
    bucket.mkdir(parents=True)
    commands.mkdir()
    for name, text in {"aws": AWS, "sleep": "#!/bin/sh\n"}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    wheel = make_wheel(bucket, "superres", {"superres.py": COMMAND}, "superres = superres:main")
    nothing = "class BotoCoreError(Exception): ...\nclass ClientError(Exception): ...\n"
    files = {"boto3.py": BOTO3, "botocore/__init__.py": "", "botocore/exceptions.py": nothing}
    library = make_wheel(folder, "boto3", files)
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
            "SUPERRES_UNITS": "consume uploads notify",
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
    """A machine with nothing on it yet."""
    return make_machine(tmp_path)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with every unit on it."""
    machine = make_machine(tmp_path_factory.mktemp("machine"))
    done = machine.install()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"start consume: {machine.home}/bin/consume",
        f"start uploads: {machine.home}/bin/uploads",
        f"start notify: {machine.home}/bin/notify",
        "superres install: done",
    ]
    return machine


def test_a_unit_starts_with_its_settings_and_secrets(installed):
    told = installed.start("uploads", "--port", "0")
    assert told["arguments"] == [
        "uploads", "--config", f"{installed.home}/config.yaml", "--port", "0",
    ]  # fmt: skip
    assert told["folder"] == f"{installed.root}/var/lib/superres-uploads"
    wanted = {
        "SUPERRES_UPLOAD_TOKEN": TOKEN,
        "OTHER": "of the database",
        "SUPERRES_INGESTION__UPLOAD_PORT": "9999",
        "SUPERRES_KAFKA__TOPIC": "it's a $HOME",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "TMPDIR": f"{installed.root}/var/lib/superres-uploads",
    }
    assert {name: told["environment"].get(name) for name in wanted} == wanted


def test_no_unit_has_the_secrets_of_another(installed):
    for unit in ("consume", "produce", "notify"):
        assert TOKEN not in json.dumps(installed.start(unit))


def test_secrets_lie_in_no_file(installed):
    installed.start("uploads")
    files = [path for path in installed.root.rglob("*") if path.is_file()]
    assert installed.home / "bin" / "uploads" in files
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []


def test_a_replaced_secret_is_noticed(installed):
    installed.start("uploads")
    check = re.search(r"^RUNTIME_DIRECTORY=\S+ (.*)$", _check_of(installed, "uploads"), re.M)
    assert check is not None
    folder = f"{installed.root}/var/lib/superres-uploads"

    def look() -> int:
        environment = installed.environment | {"RUNTIME_DIRECTORY": folder}
        return subprocess.run(
            ["bash", "-c", check[1]], env=environment, timeout=60, check=False
        ).returncode

    known = installed.secrets.read_text()
    assert look() == 0
    try:
        installed.secrets.write_text(known.replace("first", "second"))
        assert look() == 3
    finally:
        installed.secrets.write_text(known)


def _check_of(machine: Machine, unit: str) -> str:
    return (machine.home / "bin" / f"check-{unit}").read_text()


def test_a_check_asks_where_the_unit_listens(installed):
    assert "http://127.0.0.1:9999/healthz" in _check_of(installed, "uploads")
    assert "http://127.0.0.1:9101/healthz" in _check_of(installed, "consume")


def test_a_secret_that_is_not_there_is_one_line(installed, tmp_path):
    empty = tmp_path / "secrets.json"
    empty.write_text(json.dumps({"dev/upload": [TOKEN, "first"], "dev/db": ["{}", "first"]}))
    failed = installed.try_start("uploads", SECRETS_OF_TEST=str(empty))
    assert failed.returncode == 1
    assert failed.stderr.splitlines() == ["superres: secret dev/db: KeyError"]


def test_only_what_is_missing_is_fetched(machine):
    assert machine.install().returncode == 0
    first = machine.fetched()
    assert machine.install().returncode == 0
    assert machine.fetched()[len(first) :] == ["s3://artifacts/dev.yaml"]

    other = COMMAND.replace('"arguments"', '"newer": True, "arguments"')
    bucket = machine.folder / "bucket" / "artifacts"
    wheel = make_wheel(bucket, "superres", {"superres.py": other}, "superres = superres:main")
    done = machine.install(SUPERRES_WHEEL_SHA256=digest_of(wheel))
    assert done.returncode == 0, done.stderr
    assert machine.start("consume")["newer"] is True


@pytest.mark.parametrize("part", ["WHEEL", "WHEELHOUSE", "CONFIG"])
def test_what_was_tampered_with_is_not_installed(machine, part):
    done = machine.install(**{f"SUPERRES_{part}_SHA256": "0" * 64})
    assert done.returncode == 1
    place = machine.exports[f"SUPERRES_{part}"]
    assert done.stderr.splitlines() == [
        f"superres install: {place}: its SHA-256 is not {'0' * 64}; deploy again"
    ]
    assert not (machine.home / "installed").exists()
    assert not (machine.home / "bin" / "consume").exists()


def test_what_cannot_be_fetched_is_tried_again_and_told(machine):
    done = machine.install(SUPERRES_CONFIG="s3://artifacts/absent.yaml")
    assert done.returncode == 1
    assert machine.fetched() == ["s3://artifacts/absent.yaml"] * 5
    assert done.stderr.splitlines()[-1] == (
        "superres install: s3://artifacts/absent.yaml: cannot be fetched; does it exist, "
        "and may this machine read it?"
    )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"SUPERRES_UNITS": ""}, "SUPERRES_UNITS is not set; see the head of"),
        ({"SUPERRES_WHEEL_SHA256": ""}, "SUPERRES_WHEEL_SHA256 is not set"),
        ({"SUPERRES_PYTHON": "python0.9"}, "no python0.9 on PATH; install it, or name one in"),
        ({"SUPERRES_UNITS": "consumer"}, "there is no unit consumer; there are consume, uploads"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(machine, changed, told):
    done = machine.install(**changed)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert told in done.stderr


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


def test_systemd_understands_the_units(units):
    files = sorted(str(path) for path in units.iterdir())
    assert len(files) == 9
    seen = _analyze("verify", "--man=no", *files)
    assert (seen.returncode, seen.stderr) == (0, "")


@pytest.mark.parametrize("unit", ["consume", "uploads", "notify"])
def test_the_units_are_hardened(units, unit):
    # systemd counts exposure from 0 (safe) to 10; a unit without any of it has 9.6. What is left is
    # the network, which these services are for.
    file = str(units / f"superres-{unit}.service")
    seen = _analyze("security", "--offline=true", "--no-pager", "--threshold=20", file)
    assert seen.returncode == 0, seen.stdout


def test_a_stop_lasts_as_long_as_what_is_begun(units):
    from ingestion.cli import uploads
    from notifier.cli import notify
    from superres.pipeline.config import Ingestion

    patience = {
        unit: int(re.search(r"^TimeoutStopSec=(\d+)$", _service(units, unit), re.M)[1])
        for unit in ("consume", "uploads", "notify")
    }
    longest_drain = next(
        each.le for each in Ingestion.model_fields["drain_seconds"].metadata if hasattr(each, "le")
    )
    assert patience["consume"] > longest_drain
    assert patience["uploads"] > uploads._STOP_SECONDS
    assert patience["notify"] > notify._STOP_SECONDS


def _service(units: Path, unit: str) -> str:
    return (units / f"superres-{unit}.service").read_text()


# ---- Secrets Manager


@pytest.mark.localstack
def test_of_several_that_find_a_secret_empty_one_fills_it(aws_environment, installed, tmp_path):
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


def test_the_script_is_clean():
    shellcheck = Path(sys.executable).with_name("shellcheck")
    found = str(shellcheck) if shellcheck.exists() else shutil.which("shellcheck")
    require("shellcheck", "make setup-dev", found=found is not None)
    assert found is not None
    seen = subprocess.run([found, SCRIPT], capture_output=True, text=True, check=False)
    assert seen.stdout == ""


def test_the_script_fits_into_user_data():
    # EC2 takes 16,384 bytes, and the exports before it take some.
    assert len(SCRIPT.read_bytes()) < 12_000
    part = SCRIPT.read_text().partition("<<'PYTHON'\n")[2].partition("\nPYTHON\n")[0]
    ast.parse(part)

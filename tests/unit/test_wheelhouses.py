"""Wheelhouses: the locks they are made from, and what is rejected. pip is a stand-in."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy import wheelhouses
from deploy.wheelhouses import RECIPES, build_wheelhouse, read_lock, requirements_of
from superres.errors import PrerequisiteError
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("unlimited_disk")
LOCKS = ROOT / "requirements"


def test_a_full_disk_is_reported_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setattr(wheelhouses, "_BYTES_NEEDED", dict.fromkeys(RECIPES, 10**18))
    calls: list[Sequence[str]] = []
    for lock in ("cluster", "gpu"):
        (tmp_path / f"{lock}.txt").write_text(f"{lock}==1.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(PrerequisiteError, match=r"GB free, the wheelhouse gpu needs"):
        build_wheelhouse("gpu", tmp_path, tmp_path / "out", calls.append)
    assert calls == []


def test_a_missing_lock_is_named(tmp_path):
    with pytest.raises(PrerequisiteError, match=r"cluster\.txt: no such lock; run make lock"):
        build_wheelhouse("cpu", tmp_path, tmp_path / "out")


def fake_build(name: str):
    def pip(arguments: Sequence[str]) -> None:
        (folder,) = [each.partition("=")[2] for each in arguments if each.startswith("--wheel-dir")]
        with zipfile.ZipFile(Path(folder) / name, "w"):
            pass

    return pip


def test_a_wheel_compiled_for_this_machine_is_an_error(tmp_path):
    (tmp_path / "cluster.txt").write_text("pyvips==3.2.0 \\\n    --hash=sha256:00\n")
    compiled = fake_build("pyvips-3.2.0-cp311-cp311-linux_x86_64.whl")
    with pytest.raises(PrerequisiteError, match="compiled for this machine"):
        build_wheelhouse("cpu", tmp_path, tmp_path / "out", compiled)
    pure = fake_build("pyvips-3.2.0-py3-none-any.whl")
    assert build_wheelhouse("cpu", tmp_path, tmp_path / "out", pure).name.startswith("cpu-")


def test_a_package_without_a_wheel_is_named(tmp_path):
    (tmp_path / "cluster.txt").write_text("pyvips==3.2.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(PrerequisiteError, match=r"pip provided no wheel of pyvips 3\.2\.0"):
        build_wheelhouse("cpu", tmp_path, tmp_path / "out", lambda _: None)


# ---- locks


def test_markers_are_evaluated_for_the_target_not_this_machine(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "here==1 ; python_full_version < '3.12' and sys_platform == 'linux' \\\n"
        "    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "later==2 ; python_full_version >= '3.12' \\\n    --hash=sha256:cc\n"
        "elsewhere==3 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
        "extra[binary]==4 \\\n    --hash=sha256:ee\n"
    )
    assert [each.line for each in read_lock(lock)] == [
        "here==1 --hash=sha256:aa --hash=sha256:bb",
        "extra==4 --hash=sha256:ee",
    ]


@pytest.mark.parametrize("role", RECIPES)
def test_every_requirement_is_hashed_and_unique(role):
    wanted = requirements_of(role, LOCKS)
    assert wanted
    assert all(each.hashes for each in wanted)
    names = [each.name for each in wanted]
    assert len(set(names)) == len(names)


def test_only_gpus_get_torch_and_none_gets_spark():
    names = {role: {each.name for each in requirements_of(role, LOCKS)} for role in RECIPES}
    assert "torch" in names["gpu"]
    assert not any("torch" in names[role] for role in ("cpu", "ingestion", "notifier"))
    assert not any("pyspark" in listed for listed in names.values())
    assert {"pandas", "pyarrow", "openvino", "numpy", "boto3"} <= names["cpu"]
    assert not names["gpu"] & names["cpu"]
    assert {"confluent-kafka", "gunicorn"} <= names["ingestion"]
    assert {"sqlalchemy", "gunicorn"} <= names["notifier"]


@pytest.mark.parametrize(
    ("platform", "machine", "library"),
    [
        ("linux", "x86_64", "openvino"),
        ("linux", "aarch64", "onnxruntime"),  # Graviton: OpenVINO's wheel needs a newer glibc
        ("darwin", "arm64", "openvino"),
        ("darwin", "x86_64", "onnxruntime"),
        ("win32", "AMD64", "openvino"),
    ],
)
def test_each_platform_gets_one_engine_for_its_cpu(platform, machine, library, monkeypatch):
    target = {**wheelhouses._TARGET, "sys_platform": platform, "platform_machine": machine}
    monkeypatch.setattr(wheelhouses, "_TARGET", target)
    names = {each.name for each in requirements_of("cpu", LOCKS)}
    assert names & {"openvino", "onnxruntime"} == {library}

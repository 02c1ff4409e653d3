"""`make package` with real builds and pip: contents, reproducibility and errors."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.package import ROOT, build_package
from deploy.wheelhouses import RECIPES, build_wheelhouse, run_pip
from superres.errors import PrerequisiteError
from tests.support.wheels import lock_of, make_wheel

pytestmark = pytest.mark.usefixtures("unlimited_disk")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """A small checkout: our own files, except that the locks list tiny wheels."""
    root = tmp_path / "checkout"
    root.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "models", "static")
    for name in ("superres", "jobs", "ingestion", "notifier", "bootstrap"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    for name in ("config.yaml", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, root / name)
    wheels = {
        name: make_wheel(tmp_path / "wheels", name, {f"{name}.py": f"# {name}"})
        for name in ("alpha", "beta", "gamma")
    }
    (root / "requirements").mkdir()
    for lock, names in {
        "cluster": ["alpha"],
        "gpu": ["alpha", "beta"],
        "ingestion": ["alpha", "gamma"],
        "notifier": ["gamma"],
    }.items():
        text = lock_of(wheels[name] for name in names)
        (root / "requirements" / f"{lock}.txt").write_text(text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return root


class CountingPip:
    """Runs pip and counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, arguments: Sequence[str]) -> None:
        self.calls += 1
        run_pip(arguments)


def contents(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive.getmembers()}


# ---- the whole package


def test_the_manifest_lists_every_file_with_key_and_digest(project, tmp_path):
    output = tmp_path / "package"
    manifest = build_package(output=output, root=project)
    assert json.loads((output / "manifest.json").read_text()) == manifest
    release = manifest["release"]
    assert manifest["version"] == 1
    assert manifest["wheel"] == f"releases/{release}/wheel/superres-0.1.0-py3-none-any.whl"
    assert manifest["config"] == f"releases/{release}/config.yaml"
    assert set(manifest["jobs"]) == {
        "mass_split",
        "batch_inference",
        "mass_reconstruct",
        "evaluate",
        "fused",
    }
    assert set(manifest["bootstrap"]) == {"send_logs", "install_fsrcnn", "enable_gpu_scheduling"}
    assert set(manifest["wheelhouses"]) == {"cpu", "gpu", "ingestion", "notifier"}
    files = {file["key"]: file for file in manifest["files"]}
    keys = [manifest["wheel"], manifest["config"], *manifest["wheelhouses"].values()]
    keys += [*manifest["jobs"].values(), *manifest["bootstrap"].values()]
    assert sorted(files) == sorted(keys)
    for file in files.values():
        assert digest(output / file["path"]) == file["sha256"]
        assert (output / file["path"]).stat().st_size == file["bytes"]
    for role, key in manifest["wheelhouses"].items():
        assert key == f"wheelhouses/{role}-{files[key]['sha256'][:12]}.tar"


def test_the_same_checkout_gives_the_same_package(project, tmp_path):
    first = build_package(output=tmp_path / "first", root=project)
    second = build_package(output=tmp_path / "second", root=project)
    assert first == second


def test_any_change_gives_another_release(project, tmp_path):
    first = build_package(output=tmp_path / "package", root=project)
    job = project / "jobs" / "mass_split.py"
    job.write_text(job.read_text() + "# a change\n")
    second = build_package(output=tmp_path / "package", root=project)
    assert second["release"] != first["release"]
    assert second["wheelhouses"] == first["wheelhouses"]


def test_an_unchanged_lock_downloads_nothing(project, tmp_path):
    pip, output = CountingPip(), tmp_path / "package"
    first = build_package(output=output, root=project, pip=pip)
    called = pip.calls
    assert called == len(RECIPES)
    assert build_package(output=output, root=project, pip=pip) == first
    assert pip.calls == called
    # A damaged or lost tar is built again.
    (output / first["wheelhouses"]["cpu"]).write_bytes(b"")
    assert build_package(output=output, root=project, pip=pip) == first
    assert pip.calls == called + 1


def test_a_changed_lock_replaces_its_wheelhouse(project, tmp_path):
    output = tmp_path / "package"
    first = build_package(output=output, root=project)
    lock = project / "requirements" / "notifier.txt"
    lock.write_text((project / "requirements" / "ingestion.txt").read_text())
    second = build_package(output=output, root=project)
    assert second["wheelhouses"]["notifier"] != first["wheelhouses"]["notifier"]
    assert second["wheelhouses"]["cpu"] == first["wheelhouses"]["cpu"]
    assert not (output / first["wheelhouses"]["notifier"]).exists()


def test_gpu_can_be_left_out_and_added_again_without_a_download(project, tmp_path):
    pip, output = CountingPip(), tmp_path / "package"
    build_package(output=output, root=project, pip=pip)
    called = pip.calls
    without = build_package(("cpu", "ingestion", "notifier"), output, project, pip)
    assert "gpu" not in without["wheelhouses"]
    assert not any("gpu-" in file["key"] for file in without["files"])
    assert "gpu" in build_package(output=output, root=project, pip=pip)["wheelhouses"]
    assert pip.calls == called


def test_a_failed_build_leaves_no_manifest(project, tmp_path):
    output = tmp_path / "package"
    build_package(output=output, root=project)
    (project / "bootstrap" / "install_fsrcnn.sh").unlink()
    with pytest.raises(PrerequisiteError, match=r"install_fsrcnn\.sh: is part of the package"):
        build_package(output=output, root=project)
    assert not (output / "manifest.json").exists()


def test_a_failed_wheel_build_is_reported_in_one_line(project, tmp_path):
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(PrerequisiteError, match=r"the wheel cannot be built: .*make setup"):
        build_package(output=tmp_path / "package", root=project)


# ---- wheelhouses


def test_a_wheelhouse_contains_its_own_lock(project, tmp_path):
    made = build_wheelhouse("ingestion", project / "requirements", tmp_path / "out")
    tar = tmp_path / "out" / made.name
    content = contents(tar)
    lines = content["requirements.txt"].decode().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["alpha==1.0", "gamma==1.0"]
    for line in lines:
        (wheel,) = [name for name in content if name.startswith(line.split("=")[0])]
        assert line.endswith(f"--hash=sha256:{hashlib.sha256(content[wheel]).hexdigest()}")
    with tarfile.open(tar) as archive:
        for entry in archive.getmembers():
            assert (entry.mtime, entry.uid, entry.uname, entry.mode) == (0, 0, "", 0o644)
            assert "/" not in entry.name


def test_gpu_contains_only_what_cpu_does_not(project, tmp_path):
    made = build_wheelhouse("gpu", project / "requirements", tmp_path / "out")
    assert set(contents(tmp_path / "out" / made.name)) == {
        "requirements.txt",
        "beta-1.0-py3-none-any.whl",
    }


def test_a_wheel_with_another_digest_is_an_error(project, tmp_path):
    make_wheel(tmp_path / "wheels", "gamma", {"gamma.py": "# changed"})
    with pytest.raises(PrerequisiteError, match=r"^pip download: .*(HASHES|hashes)"):
        build_wheelhouse("notifier", project / "requirements", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tar"))


def test_an_unavailable_package_is_named(project, tmp_path):
    lock = project / "requirements" / "notifier.txt"
    lock.write_text(lock.read_text().replace("gamma==1.0", "delta==1.0"))
    with pytest.raises(PrerequisiteError, match="delta"):
        build_wheelhouse("notifier", project / "requirements", tmp_path / "out")

"""`make package`: what lies in the package, that it is the same each time, and what stops it."""

import hashlib
import json
import shutil
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy import wheelhouses
from deploy.package import ROOT, build_package
from deploy.wheelhouses import RECIPES, build_wheelhouse, read_lock, requirements_of, run_pip
from superres.errors import PrerequisiteError
from tests.support.wheels import lock_of, make_wheel

pytestmark = pytest.mark.usefixtures("unlimited_disk")
LOCKS = ROOT / "requirements"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    """A checkout in small: our real files but for the locks, whose packages are tiny wheels."""
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
    """pip, and how often it was called."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, arguments: Sequence[str]) -> None:
        self.calls += 1
        run_pip(arguments)


def held(tar: Path) -> dict[str, bytes]:
    with tarfile.open(tar) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive.getmembers()}


# ---- the whole package


def test_the_manifest_is_the_contract(project, tmp_path):
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
    assert set(manifest["bootstrap"]) == {"install_fsrcnn", "enable_gpu_scheduling"}
    assert set(manifest["wheelhouses"]) == {"cpu", "gpu", "ingestion", "notifier"}
    files = {file["key"]: file for file in manifest["files"]}
    named = [manifest["wheel"], manifest["config"], *manifest["wheelhouses"].values()]
    named += [*manifest["jobs"].values(), *manifest["bootstrap"].values()]
    assert sorted(files) == sorted(named)
    for file in files.values():
        assert digest(output / file["path"]) == file["sha256"]
        assert (output / file["path"]).stat().st_size == file["bytes"]
    for role, key in manifest["wheelhouses"].items():
        assert key == f"wheelhouses/{role}-{files[key]['sha256'][:12]}.tar"


def test_the_same_checkout_gives_the_same_package(project, tmp_path):
    first = build_package(output=tmp_path / "first", root=project)
    second = build_package(output=tmp_path / "second", root=project)
    assert first == second


def test_any_change_is_another_release(project, tmp_path):
    first = build_package(output=tmp_path / "package", root=project)
    job = project / "jobs" / "mass_split.py"
    job.write_text(job.read_text() + "# a change\n")
    second = build_package(output=tmp_path / "package", root=project)
    assert second["release"] != first["release"]
    assert second["wheelhouses"] == first["wheelhouses"]


def test_an_unchanged_lock_fetches_nothing(project, tmp_path):
    pip, output = CountingPip(), tmp_path / "package"
    first = build_package(output=output, root=project, pip=pip)
    called = pip.calls
    assert called == len(RECIPES)
    assert build_package(output=output, root=project, pip=pip) == first
    assert pip.calls == called
    # A tar that was tampered with, or lost, is made anew.
    (output / first["wheelhouses"]["cpu"]).write_bytes(b"")
    assert build_package(output=output, root=project, pip=pip) == first
    assert pip.calls == called + 1


def test_a_changed_lock_makes_its_wheelhouse_anew_and_drops_the_old(project, tmp_path):
    output = tmp_path / "package"
    first = build_package(output=output, root=project)
    lock = project / "requirements" / "notifier.txt"
    lock.write_text((project / "requirements" / "ingestion.txt").read_text())
    second = build_package(output=output, root=project)
    assert second["wheelhouses"]["notifier"] != first["wheelhouses"]["notifier"]
    assert second["wheelhouses"]["cpu"] == first["wheelhouses"]["cpu"]
    assert not (output / first["wheelhouses"]["notifier"]).exists()


def test_gpu_can_be_left_out_and_comes_back_without_a_download(project, tmp_path):
    pip, output = CountingPip(), tmp_path / "package"
    build_package(output=output, root=project, pip=pip)
    called = pip.calls
    without = build_package(("cpu", "ingestion", "notifier"), output, project, pip)
    assert "gpu" not in without["wheelhouses"]
    assert not any("gpu-" in file["key"] for file in without["files"])
    assert "gpu" in build_package(output=output, root=project, pip=pip)["wheelhouses"]
    assert pip.calls == called


def test_what_fails_leaves_no_manifest(project, tmp_path):
    output = tmp_path / "package"
    build_package(output=output, root=project)
    (project / "bootstrap" / "install_fsrcnn.sh").unlink()
    with pytest.raises(PrerequisiteError, match=r"install_fsrcnn\.sh: belongs to the package"):
        build_package(output=output, root=project)
    assert not (output / "manifest.json").exists()


def test_a_wheel_that_cannot_be_built_is_told_in_a_line(project, tmp_path):
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    with pytest.raises(PrerequisiteError, match=r"the wheel cannot be built: .*make setup"):
        build_package(output=tmp_path / "package", root=project)


# ---- wheelhouses


def test_a_wheelhouse_installs_by_its_own_lock(project, tmp_path):
    made = build_wheelhouse("ingestion", project / "requirements", tmp_path / "out")
    tar = tmp_path / "out" / made.name
    content = held(tar)
    lines = content["requirements.txt"].decode().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["alpha==1.0", "gamma==1.0"]
    for line in lines:
        (wheel,) = [name for name in content if name.startswith(line.split("=")[0])]
        assert line.endswith(f"--hash=sha256:{hashlib.sha256(content[wheel]).hexdigest()}")
    with tarfile.open(tar) as archive:
        for entry in archive.getmembers():
            assert (entry.mtime, entry.uid, entry.uname, entry.mode) == (0, 0, "", 0o644)
            assert "/" not in entry.name


def test_gpu_holds_what_cpu_does_not(project, tmp_path):
    made = build_wheelhouse("gpu", project / "requirements", tmp_path / "out")
    assert set(held(tmp_path / "out" / made.name)) == {
        "requirements.txt",
        "beta-1.0-py3-none-any.whl",
    }


def test_a_wheel_with_another_digest_is_refused(project, tmp_path):
    make_wheel(tmp_path / "wheels", "gamma", {"gamma.py": "# somebody else's"})
    with pytest.raises(PrerequisiteError, match=r"^pip download: .*(HASHES|hashes)"):
        build_wheelhouse("notifier", project / "requirements", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tar"))


def test_a_package_that_is_not_to_be_had_is_named(project, tmp_path):
    lock = project / "requirements" / "notifier.txt"
    lock.write_text(lock.read_text().replace("gamma==1.0", "delta==1.0"))
    with pytest.raises(PrerequisiteError, match="delta"):
        build_wheelhouse("notifier", project / "requirements", tmp_path / "out")


def test_a_full_disk_is_named_before_the_download(project, tmp_path, monkeypatch):
    monkeypatch.setattr(wheelhouses, "_BYTES_NEEDED", dict.fromkeys(RECIPES, 10**18))
    pip = CountingPip()
    with pytest.raises(PrerequisiteError, match=r"GB free, the wheelhouse gpu needs"):
        build_wheelhouse("gpu", project / "requirements", tmp_path / "out", pip)
    assert pip.calls == 0


def test_a_missing_lock_is_named(tmp_path):
    with pytest.raises(PrerequisiteError, match=r"cluster\.txt: no such lock; run make lock"):
        build_wheelhouse("cpu", tmp_path, tmp_path / "out")


def fake_build(name: str):
    def pip(arguments: Sequence[str]) -> None:
        (folder,) = [each.partition("=")[2] for each in arguments if each.startswith("--wheel-dir")]
        with zipfile.ZipFile(Path(folder) / name, "w"):
            pass

    return pip


def test_what_is_compiled_here_is_refused(tmp_path):
    (tmp_path / "cluster.txt").write_text("pyvips==3.2.0 \\\n    --hash=sha256:00\n")
    compiled = fake_build("pyvips-3.2.0-cp311-cp311-linux_x86_64.whl")
    with pytest.raises(PrerequisiteError, match="compiled for this machine"):
        build_wheelhouse("cpu", tmp_path, tmp_path / "out", compiled)
    pure = fake_build("pyvips-3.2.0-py3-none-any.whl")
    assert build_wheelhouse("cpu", tmp_path, tmp_path / "out", pure).name.startswith("cpu-")


def test_a_package_without_a_wheel_is_named(tmp_path):
    (tmp_path / "cluster.txt").write_text("pyvips==3.2.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(PrerequisiteError, match=r"pip gave no wheel of pyvips 3\.2\.0"):
        build_wheelhouse("cpu", tmp_path, tmp_path / "out", lambda _: None)


# ---- the real locks, read for the target


def test_markers_are_those_of_the_target_whatever_runs_this(tmp_path):
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
def test_every_real_requirement_is_hashed_and_there_once(role):
    wanted = requirements_of(role, LOCKS)
    assert wanted
    assert all(each.hashes for each in wanted)
    names = [each.name for each in wanted]
    assert len(set(names)) == len(names)


def test_torch_goes_to_gpus_only_and_spark_to_none():
    names = {role: {each.name for each in requirements_of(role, LOCKS)} for role in RECIPES}
    assert "torch" in names["gpu"]
    assert not any("torch" in names[role] for role in ("cpu", "ingestion", "notifier"))
    assert not any("pyspark" in held for held in names.values())
    assert {"pandas", "pyarrow", "onnxruntime", "numpy", "boto3"} <= names["cpu"]
    assert not names["gpu"] & names["cpu"]
    assert {"confluent-kafka", "gunicorn"} <= names["ingestion"]
    assert {"sqlalchemy", "gunicorn"} <= names["notifier"]

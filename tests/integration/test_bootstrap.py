"""The bootstrap action install_fsrcnn with a real venv and pip; S3 and disk size are stand-ins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cluster_node import (
    BOOTSTRAP,
    Node,
    assert_fails_with,
    make_node,
    path_with_free_disk,
)
from tests.support.wheels import make_wheel

pytestmark = pytest.mark.usefixtures("unlimited_disk")


@pytest.fixture(scope="module")
def empty_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creates a virtual environment once, because that takes some seconds."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def node(tmp_path: Path, empty_venv: Path) -> Node:
    return make_node(tmp_path, empty_venv)


def test_it_installs_and_tests_itself_once(node):
    first = node.install()
    assert first.returncode == 0, first.stderr
    assert "tested cpu first" in first.stdout
    assert "(cpu)" in first.stdout
    assert (node.home / "venv").readlink().name.startswith("venv-")
    python = node.home / "venv" / "bin" / "python"
    subprocess.run([python, "-c", "import superres, tinycpu"], check=True)
    # Containers of YARN run as other users.
    assert (node.home / "venv").resolve().stat().st_mode & 0o005 == 0o005
    assert not list(node.home.glob("install.*"))

    downloads = node.downloads()
    again = node.install()
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert node.downloads() == downloads
    assert len(list(node.home.glob("venv-*"))) == 1


def test_a_new_wheel_leaves_the_old_installation_in_place(node):
    assert node.install().returncode == 0
    old = (node.home / "venv").resolve()
    node.put_wheel("second")
    done = node.install()
    assert "tested cpu second" in done.stdout
    assert (node.home / "venv").resolve() != old
    assert (old / ".complete").exists()


def test_a_node_with_a_gpu_installs_both_wheelhouses(node):
    done = node.install("cpu", "gpu", SUPERRES_GPU="yes", PATH=path_with_free_disk(node, 30))
    assert done.returncode == 0, done.stderr
    assert "tested cpu" in done.stdout
    assert "tested torch" in done.stdout


def test_a_node_without_a_gpu_does_not_download_torch(node):
    assert node.install("cpu", "gpu").returncode == 0
    assert "s3://artifacts/gpu.tar" not in node.downloads()


def test_two_concurrent_runs_install_once(node):
    # Nodes of the local cloud share a folder.
    command = ["bash", str(BOOTSTRAP / "install_fsrcnn.sh"), *node.arguments("cpu")]
    environment = {
        **os.environ,
        "PATH": f"{node.folder / 'bin'}:{os.environ['PATH']}",
        "SUPERRES_MNT": str(node.folder / "mnt"),
        "SUPERRES_PYTHON": str(node.folder / "bin" / "python"),
        "SUPERRES_GPU": "no",
    }
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    outputs = [(process.communicate(timeout=240)[0] or b"").decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("nothing to do" in text for text in outputs) == 1
    assert len(node.downloads()) == 2


# ---- errors


def test_a_failed_self_test_leaves_no_installation_and_can_be_repeated(node):
    node.put_wheel(code=1)
    assert_fails_with(node.install(), "does not work")
    assert not (node.home / "venv").exists()
    assert not list(node.home.glob("install.*"))
    node.put_wheel()
    assert node.install().returncode == 0


def test_a_wheel_that_is_not_in_the_lock_is_an_error(node, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    subprocess.run(["tar", "-xf", node.bucket / "cpu.tar", "-C", inside], check=True)
    make_wheel(inside, "tinycpu", {"tinycpu.py": "other"})
    names = [path.name for path in inside.iterdir()]
    subprocess.run(["tar", "-cf", node.bucket / "cpu.tar", "-C", inside, *names], check=True)
    done = node.install()
    assert_fails_with(done, "pip cannot install the wheelhouses")
    assert "HASHES" in done.stderr
    assert not (node.home / "venv").exists()

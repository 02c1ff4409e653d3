"""The bootstrap actions as far as they need neither a venv nor pip."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.cluster_node import Node, assert_fails_with, make_node, path_with_free_disk
from tests.support.paths import ROOT

pytestmark = pytest.mark.usefixtures("unlimited_disk")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return make_node(tmp_path)


# ---- install_fsrcnn


def test_too_small_a_disk_is_reported_before_any_download(node):
    assert_fails_with(
        node.install(PATH=path_with_free_disk(node, 1)),
        "1024 MiB free",
        "2048 needed",
        "EBS volume",
    )
    # Enough space for a CPU, but not for torch.
    done = node.install("cpu", "gpu", SUPERRES_GPU="yes", PATH=path_with_free_disk(node, 10))
    assert_fails_with(done, "10240 MiB free", "18432 needed")
    assert node.downloads() == []


def test_a_gpu_without_its_wheelhouse_is_an_error(node):
    assert_fails_with(node.install("cpu", SUPERRES_GPU="yes"), "--gpu", "make package")


def test_content_with_another_digest_is_an_error(node):
    arguments = node.arguments("cpu")
    (node.bucket / "cpu.tar").write_bytes(b"something else")
    assert_fails_with(node.run("install_fsrcnn", *arguments), "s3://artifacts/cpu.tar", "expected")
    assert not (node.home / "venv").exists()


def test_a_missing_object_is_named(node):
    arguments = node.arguments("cpu")
    (node.bucket / "cpu.tar").unlink()
    assert_fails_with(
        node.run("install_fsrcnn", *arguments), "cannot download s3://artifacts/cpu.tar"
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--wheel must be s3://"),
        (["--wheel"], "--wheel needs a value"),
        (["--wheels", "s3://b/k"], "unknown argument --wheels"),
        (["--wheel", "/tmp/x.whl"], "not '/tmp/x.whl'"),
        (["--wheel", "s3://b/k.whl", "--wheel-sha256", "abc"], "64 hex digits, not 'abc'"),
        (["--wheel", "s3://b/k.whl", "--wheel-sha256", "0" * 64], "--cpu must be"),
    ],
)
def test_wrong_arguments_are_named(node, arguments, word):
    assert_fails_with(node.run("install_fsrcnn", *arguments), word)


def test_a_missing_python_is_named(node):
    assert_fails_with(node.install(SUPERRES_PYTHON="python9.99"), "python9.99 is not on this node")


# ---- enable_gpu_scheduling


@pytest.fixture
def gpu_node(tmp_path: Path) -> Node:
    """A node on which mounting only leaves a file."""
    node = Node(tmp_path)
    node.command(
        "sudo",
        f'echo "$*" >> {tmp_path}/sudo\n[[ $1 == mount ]] && touch {tmp_path}/mounted; "${{@:1}}"',
    )
    node.command("mount", "exit 0")
    node.command("mountpoint", f"[[ -e {tmp_path}/mounted ]]")
    return node


def enable_scheduling(
    node: Node, *arguments: str, gpu: str = "yes"
) -> "subprocess.CompletedProcess[str]":
    return node.run(
        "enable_gpu_scheduling",
        *arguments,
        SUPERRES_GPU=gpu,
        SUPERRES_CGROUP=str(node.folder / "cgroup"),
    )


def test_the_controller_is_mounted_once_and_made_writable(gpu_node):
    devices = gpu_node.folder / "cgroup" / "devices"
    for _ in range(2):
        done = enable_scheduling(gpu_node)
        assert done.returncode == 0, done.stderr
        assert str(devices) in done.stdout
    commands = (gpu_node.folder / "sudo").read_text().splitlines()
    assert commands == [
        f"mkdir -p {devices}",
        f"mount -t cgroup -o devices cgroupv1-devices {devices}",
        f"chmod -R a+rwx {devices.parent}",
        f"chmod -R a+rwx {devices.parent}",
    ]


def test_yarn_expects_the_controller_where_it_is_mounted(gpu_node):
    """YARN appends the controller's name to the configured path.

    https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-spark-rapids.html
    """
    cluster = (ROOT / "infra/modules/processing/cluster.tf").read_text()
    (configured,) = re.findall(r'^  cgroup = "(.+)"$', cluster, re.MULTILINE)
    assert 'cgroups.mount-path"        = local.cgroup\n' in cluster
    assert "root = local.cgroup," in cluster
    # Without SUPERRES_CGROUP, the path on EMR; nothing is mounted, as sudo runs nothing.
    gpu_node.command("sudo", f'echo "$*" >> {gpu_node.folder}/sudo')
    done = gpu_node.run("enable_gpu_scheduling", SUPERRES_GPU="yes")
    assert done.returncode == 0, done.stderr
    (mounted,) = [
        line.split()[-1]
        for line in (gpu_node.folder / "sudo").read_text().splitlines()
        if line.startswith("mount ")
    ]
    assert mounted == f"{configured}/devices"


def test_nothing_is_mounted_without_a_gpu(gpu_node):
    done = enable_scheduling(gpu_node, gpu="no")
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert not (gpu_node.folder / "sudo").exists()


def test_a_failed_mount_is_reported(gpu_node):
    gpu_node.command("mount", "echo 'unknown filesystem type' >&2; exit 32")
    gpu_node.command("mountpoint", "exit 1")
    done = enable_scheduling(gpu_node)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("enable_gpu_scheduling: cannot mount")


def test_gpu_scheduling_takes_no_arguments(gpu_node):
    assert enable_scheduling(gpu_node, "--force").returncode == 1

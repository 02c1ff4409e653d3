"""The bootstrap actions as far as they need neither a venv nor pip."""

import json
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


def test_a_missing_python_is_installed_if_the_system_has_it(node):
    python = node.folder / "bin" / "python"
    package = python.rename(node.folder / "python")
    node.command("sudo", f'echo "$*" > {node.folder}/sudo; mv {package} {python}')
    node.command("dnf", "exit 1")
    assert_fails_with(node.install(SUPERRES_PYTHON=str(python)), f"{python} cannot create")
    assert (node.folder / "sudo").read_text() == f"dnf install -y -q {python}\n"


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


# ---- send_logs

LOGS = ("--log-group", "/superres-dev/steps", "--namespace", "superres-dev")


@pytest.fixture
def emr_node(tmp_path: Path) -> Node:
    """An instance of EMR; what root would do is only recorded, or written into a folder."""
    node = Node(tmp_path)
    info = tmp_path / "mnt" / "var" / "lib" / "info"
    info.mkdir(parents=True)
    (info / "instance.json").write_text("{}")
    (tmp_path / "units").mkdir()
    node.command(
        "sudo",
        f'echo "$*" >> {tmp_path}/sudo\n'
        f'if [[ $1 == tee ]]; then cat >"{tmp_path}/units/${{2##*/}}"; fi\n'
        '[[ "$*" != *"${FAILING:-nothing}"* ]]',
    )
    return node


def commands_of_root(node: Node) -> list[str]:
    return (node.folder / "sudo").read_text().splitlines()


def test_logs_of_bootstrap_actions_steps_and_spark_are_sent(emr_node):
    done = emr_node.run("send_logs", *LOGS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        "send_logs: logs go to the log group /superres-dev/steps"
    )
    config = json.loads((emr_node.home / "cloudwatch-agent" / "logs.json").read_text())
    files = config["logs"]["logs_collected"]["files"]["collect_list"]
    logs = emr_node.folder / "mnt" / "var" / "log"
    assert {each["log_stream_name"]: each["file_path"] for each in files} == {
        "{instance_id}/bootstrap": f"{logs}/bootstrap-actions/*/std*",
        "{instance_id}/step": f"{logs}/hadoop/steps/*/*",
        "{instance_id}/spark": f"{logs}/hadoop-yarn/containers/*/*/std*",
    }
    assert {each["log_group_name"] for each in files} == {"/superres-dev/steps"}
    # Otherwise the agent follows only the newest file of a pattern.
    assert all(each["publish_multi_logs"] is True for each in files)
    install, start = commands_of_root(emr_node)
    assert install == "dnf install -y -q amazon-cloudwatch-agent"
    assert start.endswith(
        f"-a fetch-config -m ec2 -s -c file:{emr_node.home}/cloudwatch-agent/logs.json"
    )


def test_a_gpu_is_measured_once_its_driver_is_there(emr_node):
    done = emr_node.run("send_logs", *LOGS, SUPERRES_GPU="yes")
    assert done.returncode == 0, done.stderr
    file = emr_node.home / "cloudwatch-agent" / "gpu.json"
    metrics = json.loads(file.read_text())["metrics"]
    assert metrics["namespace"] == "superres-dev"
    assert "utilization_gpu" in metrics["metrics_collected"]["nvidia_gpu"]["measurement"]
    units = emr_node.folder / "units"
    waits = (units / "superres-gpu-metrics.path").read_text()
    assert "PathExists=/usr/bin/nvidia-smi" in waits
    starts = (units / "superres-gpu-metrics.service").read_text()
    assert f"-a append-config -m ec2 -s -c file:{file}\n" in starts
    assert commands_of_root(emr_node)[-1] == "systemctl enable --now superres-gpu-metrics.path"


@pytest.mark.parametrize(
    ("failing", "words"),
    [
        ("dnf", "dnf cannot install amazon-cloudwatch-agent; logs go to S3 alone"),
        ("fetch-config", "logs.json; logs go to S3 alone"),
        ("systemctl", "the GPU is not measured"),
    ],
)
def test_a_node_without_cloudwatch_still_works(emr_node, failing, words):
    done = emr_node.run("send_logs", *LOGS, FAILING=failing, SUPERRES_GPU="yes")
    assert done.returncode == 0
    assert words in done.stdout


def test_a_machine_that_is_no_instance_of_emr_gets_no_agent(emr_node):
    (emr_node.folder / "mnt" / "var" / "lib" / "info" / "instance.json").unlink()
    done = emr_node.run("send_logs", *LOGS)
    assert done.returncode == 0
    assert "no instance of EMR" in done.stdout
    assert not (emr_node.folder / "sudo").exists()


@pytest.mark.parametrize("arguments", [[], LOGS[:2], [*LOGS, "--force"], ["--group", "x"]])
def test_unexpected_arguments_of_send_logs_are_an_error(emr_node, arguments):
    done = emr_node.run("send_logs", *arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("send_logs: expected --log-group NAME --namespace NAME")

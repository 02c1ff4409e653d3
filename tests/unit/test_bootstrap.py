"""The bootstrap actions, run for real: only S3, the disk's size and mounting are stand-ins."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from deploy.wheelhouses import build_wheelhouse
from superres.errors import ModelError
from superres.models import default_model_path
from superres.network import self_test, upscaling
from superres.network.engine import make_engine, torch_engine
from superres.network.weights import load_weights
from tests.support.paths import ROOT
from tests.support.wheels import lock_of, make_wheel

pytestmark = pytest.mark.usefixtures("unlimited_disk")
BOOTSTRAP = ROOT / "bootstrap"

# Stands in for ours: says which library it was asked for, and that its own requirement is there.
SELF_TEST = """
import sys, tinycpu
if sys.argv[1] == "torch":
    import tinygpu
print("tested", sys.argv[1], "{word}")
sys.exit({code})
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Node:
    """A node of a cluster: its disk, its commands, and a bucket to fetch from."""

    folder: Path

    @property
    def bucket(self) -> Path:
        return self.folder / "bucket"

    @property
    def home(self) -> Path:
        return self.folder / "mnt" / "superres"

    def command(self, name: str, script: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/usr/bin/env bash\n{script}\n")
        path.chmod(0o755)

    def run(
        self, script: str, *arguments: str, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SUPERRES_", "PIP_"))}
        return subprocess.run(
            ["bash", str(BOOTSTRAP / f"{script}.sh"), *arguments],
            env={
                **clean,
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "SUPERRES_MNT": str(self.folder / "mnt"),
                "SUPERRES_PYTHON": str(self.folder / "bin" / "python"),
                "SUPERRES_GPU": "no",
                # Neither may have a say.
                "PIP_INDEX_URL": "http://127.0.0.1:9/none",
                "PYTHONPATH": str(self.folder / "nowhere"),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def arguments(self, *roles: str) -> list[str]:
        """What Terraform would hand over for what lies in the bucket."""
        (wheel,) = self.bucket.glob("superres-*.whl")
        found = {"wheel": wheel} | {role: self.bucket / f"{role}.tar" for role in roles}
        pairs = [
            (f"--{name}", f"s3://artifacts/{path.name}", f"--{name}-sha256", digest(path))
            for name, path in found.items()
        ]
        return [part for pair in pairs for part in pair]

    def install(self, *roles: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return self.run("install_fsrcnn", *self.arguments(*(roles or ("cpu",))), **environment)

    def fetched(self) -> list[str]:
        log = self.folder / "fetched"
        return log.read_text().split() if log.exists() else []

    def put_wheel(self, word: str = "first", code: int = 0) -> None:
        text = SELF_TEST.format(word=word, code=code)
        make_wheel(
            self.bucket,
            "superres",
            {"superres/__init__.py": "", "superres/network/self_test.py": text},
        )


@pytest.fixture(scope="module")
def empty_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m venv` makes, which takes some seconds, once."""
    folder = tmp_path_factory.mktemp("template") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def node(tmp_path: Path, empty_venv: Path) -> Node:
    """A node whose bucket holds tiny wheelhouses and a tiny wheel of ours."""
    node = Node(tmp_path)
    node.command(
        "python",
        f'if [[ $1 == -m ]]; then cp -r "{empty_venv}" "$3"; else exec "{sys.executable}" "$@"; fi',
    )
    (tmp_path / "mnt").mkdir()
    node.put_wheel()
    wheels, locks = tmp_path / "wheels", tmp_path / "locks"
    locks.mkdir()
    cpu = make_wheel(wheels, "tinycpu", {"tinycpu.py": ""})
    gpu = make_wheel(wheels, "tinygpu", {"tinygpu.py": ""})
    (locks / "cluster.txt").write_text(lock_of([cpu]))
    (locks / "gpu.txt").write_text(lock_of([cpu, gpu]))

    def pip(arguments: Sequence[str]) -> None:
        (option,) = [each for each in arguments if each.startswith("--dest=")]
        (listed,) = [each for each in arguments if each.startswith("--requirement=")]
        for line in Path(listed.partition("=")[2]).read_text().splitlines():
            wheel = cpu if line.startswith("tinycpu") else gpu
            (Path(option.partition("=")[2]) / wheel.name).write_bytes(wheel.read_bytes())

    for role in ("cpu", "gpu"):
        made = build_wheelhouse(role, locks, tmp_path / "made", pip)
        (node.bucket / f"{role}.tar").write_bytes((tmp_path / "made" / made.name).read_bytes())
    node.command(
        "aws",
        f'echo "$4" >> {tmp_path}/fetched\n'
        f'[[ "$1 $2 $3" == "s3 cp --only-show-errors" ]] && cp "{node.bucket}/${{4##*/}}" "$5"',
    )
    return node


def refused(done: "subprocess.CompletedProcess[str]", *words: str) -> str:
    """It failed, and its own last line says why."""
    assert done.returncode == 1, done.stdout
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("install_fsrcnn: ")
    for word in words:
        assert word in line
    return line


# ---- installing


def test_it_installs_tests_and_does_it_once(node):
    first = node.install()
    assert first.returncode == 0, first.stderr
    assert "tested onnxruntime first" in first.stdout
    assert "(onnxruntime)" in first.stdout
    assert (node.home / "venv").readlink().name.startswith("venv-")
    python = node.home / "venv" / "bin" / "python"
    subprocess.run([python, "-c", "import superres, tinycpu"], check=True)
    # Containers of YARN run as other users.
    assert (node.home / "venv").resolve().stat().st_mode & 0o005 == 0o005
    assert not list(node.home.glob("install.*"))

    fetched = node.fetched()
    again = node.install()
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert node.fetched() == fetched
    assert len(list(node.home.glob("venv-*"))) == 1


def test_a_new_wheel_stands_beside_the_old_one(node):
    assert node.install().returncode == 0
    old = (node.home / "venv").resolve()
    node.put_wheel("second")
    done = node.install()
    assert "tested onnxruntime second" in done.stdout
    assert (node.home / "venv").resolve() != old
    assert (old / ".complete").exists()


def test_a_node_with_a_gpu_gets_both_wheelhouses(node):
    done = node.install("cpu", "gpu", SUPERRES_GPU="yes", PATH=room(node, 30))
    assert done.returncode == 0, done.stderr
    assert "tested onnxruntime" in done.stdout
    assert "tested torch" in done.stdout


def test_a_node_without_a_gpu_leaves_torch_alone(node):
    assert node.install("cpu", "gpu").returncode == 0
    assert "s3://artifacts/gpu.tar" not in node.fetched()


def test_two_at_once_install_once(node):
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
    told = sorted((process.communicate(timeout=240)[0] or b"").decode() for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert sum("nothing to do" in text for text in told) == 1
    assert len(node.fetched()) == 2


# ---- what goes wrong


def test_a_self_test_that_fails_leaves_no_installation_and_can_be_put_right(node):
    node.put_wheel(code=1)
    refused(node.install(), "does not work")
    assert not (node.home / "venv").exists()
    assert not list(node.home.glob("install.*"))
    node.put_wheel()
    assert node.install().returncode == 0


def room(node: Node, gibibytes: int) -> str:
    """A PATH on which the disk has so much room."""
    node.command("df", f"echo Avail; echo {gibibytes << 30}")
    return f"{node.folder / 'bin'}:{os.environ['PATH']}"


def test_too_small_a_disk_is_named_before_anything_is_fetched(node):
    refused(node.install(PATH=room(node, 1)), "1024 MiB free", "2048 needed", "EBS volume")
    # What is room enough for a CPU is not for torch.
    done = node.install("cpu", "gpu", SUPERRES_GPU="yes", PATH=room(node, 10))
    refused(done, "10240 MiB free", "18432 needed")
    assert node.fetched() == []


def test_a_gpu_without_its_wheelhouse_is_refused(node):
    refused(node.install("cpu", SUPERRES_GPU="yes"), "--gpu", "make package")


def test_another_content_than_promised_is_refused(node):
    arguments = node.arguments("cpu")
    (node.bucket / "cpu.tar").write_bytes(b"something else")
    refused(node.run("install_fsrcnn", *arguments), "s3://artifacts/cpu.tar", "expected")
    assert not (node.home / "venv").exists()


def test_an_object_that_is_not_there_is_named(node):
    arguments = node.arguments("cpu")
    (node.bucket / "cpu.tar").unlink()
    refused(node.run("install_fsrcnn", *arguments), "cannot fetch s3://artifacts/cpu.tar")


def test_a_wheel_that_its_lock_does_not_know_is_refused(node, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    subprocess.run(["tar", "-xf", node.bucket / "cpu.tar", "-C", inside], check=True)
    make_wheel(inside, "tinycpu", {"tinycpu.py": "other"})
    names = [path.name for path in inside.iterdir()]
    subprocess.run(["tar", "-cf", node.bucket / "cpu.tar", "-C", inside, *names], check=True)
    done = node.install()
    refused(done, "pip cannot install the wheelhouses")
    assert "HASHES" in done.stderr
    assert not (node.home / "venv").exists()


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
    refused(node.run("install_fsrcnn", *arguments), word)


def test_a_missing_python_is_named(node):
    refused(node.install(SUPERRES_PYTHON="python9.99"), "python9.99 is not on this node")


# ---- the self-test itself


def test_both_engines_give_the_expected_digest():
    assert "as expected" in self_test.check("onnxruntime")
    assert "as expected" in self_test.check("torch")


def test_no_result_of_the_test_image_lies_near_to_where_rounding_turns(monkeypatch):
    # Else another processor could give another digest.
    seen = []
    store = upscaling._store

    def spy(values, target):
        seen.append(values.copy())
        store(values, target)

    monkeypatch.setattr(upscaling, "_store", spy)
    weights = load_weights(default_model_path(2), 2)
    results = []
    for engine in (make_engine(weights), torch_engine(weights, "cpu")):
        seen.clear()
        self_test.result_digest(engine)
        results.append(np.concatenate([values.ravel() for values in seen]))
    margins = [np.abs(values - np.round(values)).min() for values in results]
    assert min(margins) > 0.004
    assert np.abs(results[0] - results[1]).max() < min(margins) / 10


def test_another_result_is_an_error(monkeypatch, capsys):
    weights = load_weights(default_model_path(2), 2)
    darker = {name: tensor * 0.99 for name, tensor in weights.tensors.items()}
    monkeypatch.setattr(
        self_test, "load_weights", lambda *_: type(weights)(2, darker, weights.digest)
    )
    with pytest.raises(ModelError, match="self-test with onnxruntime: the result's digest is"):
        self_test.check("onnxruntime")
    monkeypatch.setattr(sys, "argv", ["self_test"])
    assert self_test.main() == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(sys, "argv", ["self_test", "tensorflow"])
    assert self_test.main() == 2


# ---- GPU scheduling


@pytest.fixture
def gpu_node(tmp_path: Path) -> Node:
    """A node whose mounts are files."""
    node = Node(tmp_path)
    node.command(
        "sudo",
        f'echo "$*" >> {tmp_path}/sudo\n[[ $1 == mount ]] && touch {tmp_path}/mounted; "${{@:1}}"',
    )
    node.command("mount", "exit 0")
    node.command("mountpoint", f"[[ -e {tmp_path}/mounted ]]")
    return node


def scheduling(node: Node, *arguments: str, gpu: str = "yes") -> "subprocess.CompletedProcess[str]":
    return node.run(
        "enable_gpu_scheduling",
        *arguments,
        SUPERRES_GPU=gpu,
        SUPERRES_CGROUP=str(node.folder / "cgroup"),
    )


def test_the_controller_is_mounted_once_and_opened(gpu_node):
    devices = gpu_node.folder / "cgroup" / "devices"
    for _ in range(2):
        done = scheduling(gpu_node)
        assert done.returncode == 0, done.stderr
        assert str(devices) in done.stdout
    called = (gpu_node.folder / "sudo").read_text().splitlines()
    assert called == [
        f"mkdir -p {devices}",
        f"mount -t cgroup -o devices cgroupv1-devices {devices}",
        f"chmod -R a+rwx {devices.parent}",
        f"chmod -R a+rwx {devices.parent}",
    ]


def test_nothing_is_mounted_where_there_is_no_gpu(gpu_node):
    done = scheduling(gpu_node, gpu="no")
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert not (gpu_node.folder / "sudo").exists()


def test_a_mount_that_fails_is_told(gpu_node):
    gpu_node.command("mount", "echo 'unknown filesystem type' >&2; exit 32")
    gpu_node.command("mountpoint", "exit 1")
    done = scheduling(gpu_node)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("enable_gpu_scheduling: cannot mount")


def test_gpu_scheduling_takes_no_arguments(gpu_node):
    assert scheduling(gpu_node, "--force").returncode == 1

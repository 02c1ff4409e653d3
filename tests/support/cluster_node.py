"""A stand-in for a node of a cluster on which the bootstrap actions run."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.wheelhouses import build_wheelhouse
from tests.support.paths import ROOT
from tests.support.wheels import lock_of, make_wheel

BOOTSTRAP = ROOT / "bootstrap"

# Replaces our self-test: prints the engine, and imports what the wheelhouses contain.
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
    """A node of a cluster: its disk, its commands, and a bucket to download from."""

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
                # Neither may have an effect.
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
        """Returns the arguments that Terraform would pass for the files in the bucket."""
        (wheel,) = self.bucket.glob("superres-*.whl")
        found = {"wheel": wheel} | {role: self.bucket / f"{role}.tar" for role in roles}
        pairs = [
            (f"--{name}", f"s3://artifacts/{path.name}", f"--{name}-sha256", digest(path))
            for name, path in found.items()
        ]
        return [part for pair in pairs for part in pair]

    def install(self, *roles: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return self.run("install_fsrcnn", *self.arguments(*(roles or ("cpu",))), **environment)

    def downloads(self) -> list[str]:
        log = self.folder / "downloads"
        return log.read_text().split() if log.exists() else []

    def put_wheel(self, word: str = "first", code: int = 0) -> None:
        text = SELF_TEST.format(word=word, code=code)
        make_wheel(
            self.bucket,
            "superres",
            {"superres/__init__.py": "", "superres/network/self_test.py": text},
        )


def make_node(folder: Path, venv: Path | None = None) -> Node:
    """Returns a node whose bucket contains tiny wheelhouses and a tiny wheel of superres.

    ``venv`` is copied where a virtual environment is created; without one, creating it fails.
    """
    node = Node(folder)
    make_venv = f'cp -r "{venv}" "$3"' if venv else "false"
    node.command(
        "python", f'if [[ $1 == -m ]]; then {make_venv}; else exec "{sys.executable}" "$@"; fi'
    )
    (folder / "mnt").mkdir()
    node.put_wheel()
    wheels, locks = folder / "wheels", folder / "locks"
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
        made = build_wheelhouse(role, locks, folder / "made", pip)
        (node.bucket / f"{role}.tar").write_bytes((folder / "made" / made.name).read_bytes())
    node.command(
        "aws",
        f'echo "$4" >> {folder}/downloads\n'
        f'[[ "$1 $2 $3" == "s3 cp --only-show-errors" ]] && cp "{node.bucket}/${{4##*/}}" "$5"',
    )
    return node


def path_with_free_disk(node: Node, gibibytes: int) -> str:
    """Returns a PATH with a `df` that reports this much free disk space."""
    node.command("df", f"echo Avail; echo {gibibytes << 30}")
    return f"{node.folder / 'bin'}:{os.environ['PATH']}"


def assert_fails_with(done: "subprocess.CompletedProcess[str]", *words: str) -> str:
    """Asserts that the script failed with these words in its last line, and returns the line."""
    assert done.returncode == 1, done.stdout
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("install_fsrcnn: ")
    for word in words:
        assert word in line
    return line

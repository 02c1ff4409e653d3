"""``make package``: everything that runs on AWS, in build/package/, with a manifest as contract.

The manifest lists what Terraform uploads under which key. Wheel, jobs, bootstrap actions and the
configuration go under ``releases/{release}/``, where the release is named by the digest over all
files: a new one does not replace the old, which may still run. Wheelhouses are named by content.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.callbacks import Report
from deploy.wheelhouses import RECIPES, Pip, Role, build_wheelhouse, run_pip, sha256_of
from superres import __version__
from superres.errors import PrerequisiteError

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "build" / "package"
JOBS = ("mass_split", "batch_inference", "mass_reconstruct", "evaluate", "fused")
BOOTSTRAP = ("send_logs", "install_fsrcnn", "enable_gpu_scheduling")


@dataclass(frozen=True)
class PackagedFile:
    """A file of the package: its key in the artifacts bucket, its path here, and its digest."""

    key: str
    path: str
    sha256: str
    bytes: int


def build_package(
    roles: Sequence[Role] = tuple(RECIPES),
    output: Path = PACKAGE,
    root: Path = ROOT,
    pip: Pip = run_pip,
    report: Report = lambda _: None,
) -> dict[str, Any]:
    """Builds everything into ``output`` and returns the manifest, which is written last.

    Raises ``PrerequisiteError`` where pip or the build of the wheel fails, or the disk is full.
    """
    output.mkdir(parents=True, exist_ok=True)
    # A half-built package must not be deployed.
    (output / "manifest.json").unlink(missing_ok=True)
    wheel = f"wheel/{_build_wheel(root, output / 'wheel').name}"
    jobs = {job: f"jobs/{job}.py" for job in JOBS}
    bootstrap = {script: f"bootstrap/{script}.sh" for script in BOOTSTRAP}
    copied = ["config.yaml", *jobs.values(), *bootstrap.values()]
    for path in copied:
        _copy(root / path, output / path)
    digests = {path: sha256_of(output / path) for path in [wheel, *copied]}
    wheelhouses: dict[str, str] = {}
    for role in roles:
        report(f"wheelhouse {role} …")
        made = build_wheelhouse(role, root / "requirements", output / "wheelhouses", pip)
        wheelhouses[role] = f"wheelhouses/{made.name}"
        digests[wheelhouses[role]] = made.sha256
        report(f"wheelhouse {role}: {made.name}, {made.bytes / 1e6:.0f} MB")

    release = _release(digests)
    keys = {path: f"releases/{release}/{path}" for path in [wheel, *copied]}
    keys |= {path: path for path in wheelhouses.values()}
    files = [
        PackagedFile(keys[path], path, digest, (output / path).stat().st_size)
        for path, digest in digests.items()
    ]
    manifest = {
        "version": 1,
        "release": release,
        "wheel": keys[wheel],
        "config": keys["config.yaml"],
        "jobs": {job: keys[path] for job, path in jobs.items()},
        "bootstrap": {script: keys[path] for script, path in bootstrap.items()},
        "wheelhouses": wheelhouses,
        "files": [asdict(file) for file in files],
    }
    temporary = output / "manifest.json.new"
    temporary.write_text(json.dumps(manifest, indent=2) + "\n")
    temporary.replace(output / "manifest.json")
    return manifest


def _build_wheel(root: Path, folder: Path) -> Path:
    """Builds our wheel; hatchling writes the same bytes for the same sources."""
    shutil.rmtree(folder, ignore_errors=True)
    # Not `uv build`: the build backend is in the environment, hash-checked, so this works offline.
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(folder)],
        cwd=root,
        env={name: text for name, text in os.environ.items() if name != "SOURCE_DATE_EPOCH"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise PrerequisiteError(f"the wheel cannot be built: {lines[-1]}; try make setup")
    (wheel,) = folder.glob("*.whl")
    return wheel


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise PrerequisiteError(f"{source}: is part of the package and is missing")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _release(digests: dict[str, str]) -> str:
    """Names the release: the version and a digest over names and contents of all files."""
    lines = [f"{digest}  {path}\n" for path, digest in sorted(digests.items())]
    return f"{__version__}-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:12]}"

"""Wheelhouses: all wheels that a role needs, in one tar that installs without a network.

The tar of a role is named by its content, and the same wheels give the same bytes, so that an
unchanged one is not uploaded again. It is for CPython 3.11 on x86-64 Linux, wherever it is built.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from superres.errors import PrerequisiteError

Role = Literal["cpu", "gpu", "ingestion", "notifier"]

# Amazon Linux 2023 has glibc 2.34; pip needs every older platform listed too.
_PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(34, 4, -1)]
_PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
_TARGET = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
    "extra": "",
}
# Published as source only, and pure Python; libvips itself is in pyvips-binary.
_FROM_SOURCE = ("pyvips",)
# Makes builds reproducible (1 January 2020; zip has no dates before 1980).
_EPOCH = "1577836800"


@dataclass(frozen=True)
class Recipe:
    """What a role installs: a lock, without what another lock's wheelhouse already contains."""

    lock: str
    without: str | None = None


RECIPES: dict[Role, Recipe] = {
    "cpu": Recipe("cluster"),
    # A node with a GPU installs the wheelhouse cpu as well; torch alone is 4 GB.
    "gpu": Recipe("gpu", without="cluster"),
    "ingestion": Recipe("ingestion"),
    "notifier": Recipe("notifier"),
}

# Disk space: wheels and tar at the same time. The wheels of gpu are 4.1 GB (measured).
_BYTES_NEEDED: dict[Role, int] = {
    "cpu": 10**9,
    "gpu": 10**10,
    "ingestion": 10**9,
    "notifier": 10**9,
}


@dataclass(frozen=True)
class LockedRequirement:
    """One entry of a lock: a package, its version and its permitted hashes."""

    name: str
    version: str
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """The entry as a line for pip."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={h}" for h in self.hashes)])


@dataclass(frozen=True)
class Wheelhouse:
    """A tar in the output folder, and a digest of what it was made from."""

    name: str
    sha256: str
    bytes: int
    made_from: str


Pip = Callable[[Sequence[str]], None]


def run_pip(arguments: Sequence[str]) -> None:
    """Runs pip of this Python; raises ``PrerequisiteError`` where it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "SOURCE_DATE_EPOCH": _EPOCH},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (lines or done.stderr.splitlines() or ["no reason given"])[0]
        raise PrerequisiteError(f"pip {arguments[0]}: {reason.removeprefix('ERROR: ')}")


def read_lock(lock: Path) -> list[LockedRequirement]:
    """Returns the entries of a lock that apply to the target."""
    if not lock.is_file():
        raise PrerequisiteError(f"{lock}: no such lock; run make lock")
    found = []
    for block in re.split(r"\n(?=\S)", lock.read_text("utf-8").strip()):
        pin, *hashes = re.split(r"\s*\\?\s+--hash=", block)
        requirement = Requirement(pin)
        if requirement.marker is None or requirement.marker.evaluate(_TARGET):
            (version,) = (specifier.version for specifier in requirement.specifier)
            # The lock lists what extras need, so they can be left out here.
            found.append(
                LockedRequirement(requirement.name, version, tuple(h.strip() for h in hashes))
            )
    return found


def requirements_of(role: Role, locks: Path) -> list[LockedRequirement]:
    """Returns what the wheelhouse of a role contains."""
    recipe = RECIPES[role]
    wanted = read_lock(locks / f"{recipe.lock}.txt")
    if recipe.without is None:
        return wanted
    already_there = {
        (each.name, each.version) for each in read_lock(locks / f"{recipe.without}.txt")
    }
    return [each for each in wanted if (each.name, each.version) not in already_there]


def build_wheelhouse(role: Role, locks: Path, output: Path, pip: Pip = run_pip) -> Wheelhouse:
    """Builds ``output/{role}-{digest}.tar``, unless the last one was made from the same lock.

    A file ``{role}.json`` beside the tar records what it was made from. The older tar is deleted.
    """
    wanted = requirements_of(role, locks)
    made_from = _digest_of(["1", *_FROM_SOURCE, *(each.line for each in wanted)])
    note = output / f"{role}.json"
    before = _read_note(note)
    if before and before.made_from == made_from and _is_intact(output / before.name, before):
        return before
    output.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(output).free) < _BYTES_NEEDED[role]:
        raise PrerequisiteError(
            f"{output}: {free / 1e9:.1f} GB free, the wheelhouse {role} needs "
            f"{_BYTES_NEEDED[role] / 1e9:.0f} GB while it is built; free some space, or "
            "leave it out"
        )
    with tempfile.TemporaryDirectory(prefix=f"{role}-", dir=output) as folder:
        wheels = Path(folder) / "wheels"
        _collect(wanted, wheels, Path(folder), pip)
        tar = Path(folder) / "wheelhouse.tar"
        _write_tar(tar, sorted(wheels.iterdir()))
        digest = sha256_of(tar)
        made = Wheelhouse(f"{role}-{digest[:12]}.tar", digest, tar.stat().st_size, made_from)
        for old in output.glob(f"{role}-*.tar"):
            old.unlink()
        tar.replace(output / made.name)
    note.write_text(json.dumps(asdict(made), indent=2) + "\n")
    return made


def _collect(wanted: Iterable[LockedRequirement], wheels: Path, folder: Path, pip: Pip) -> None:
    """Puts a wheel for each entry into ``wheels``; pip checks every download against the lock."""
    wanted = list(wanted)
    ready = folder / "ready.txt"
    ready.write_text("".join(f"{each.line}\n" for each in wanted if each.name not in _FROM_SOURCE))
    source = folder / "source.txt"
    source.write_text("".join(f"{each.line}\n" for each in wanted if each.name in _FROM_SOURCE))
    wheels.mkdir()
    checked = ["--quiet", "--no-deps", "--require-hashes"]
    target = ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11"]
    target += [f"--platform={platform}" for platform in _PLATFORMS]
    if ready.stat().st_size:
        pip(["download", *checked, *target, f"--dest={wheels}", f"--requirement={ready}"])
    if source.stat().st_size:
        # The build backend is in the environment, hash-checked (requirements/setup.txt).
        built = ["--no-binary=:all:", "--no-build-isolation", f"--wheel-dir={wheels}"]
        pip(["wheel", *checked, *built, f"--requirement={source}"])
    held = {parse_wheel_filename(wheel.name)[:2] for wheel in wheels.iterdir()}
    for each in wanted:
        if not any(name == canonicalize_name(each.name) for name, _ in held):
            raise PrerequisiteError(f"pip provided no wheel of {each.name} {each.version}")
    for wheel in wheels.iterdir():
        # Without libvips' headers pyvips builds pure; a wheel compiled here may not run there.
        if wheel.name.split("-")[0] in _FROM_SOURCE and not wheel.name.endswith("-none-any.whl"):
            raise PrerequisiteError(
                f"{wheel.name} was compiled for this machine; uninstall pkgconfig from .venv"
            )


def _write_tar(tar: Path, wheels: Sequence[Path]) -> None:
    """Writes the wheels and a hash-locked requirements.txt; the same wheels give the same bytes."""
    lines = []
    for wheel in wheels:
        name, version, *_ = parse_wheel_filename(wheel.name)
        lines.append(f"{name}=={version} --hash=sha256:{sha256_of(wheel)}\n")
    content = "".join(lines).encode()
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(_entry("requirements.txt", len(content)), io.BytesIO(content))
        for wheel in wheels:
            with wheel.open("rb") as stream:
                archive.addfile(_entry(wheel.name, wheel.stat().st_size), stream)


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)  # no owner, and a time of 0
    entry.size, entry.mode = size, 0o644
    return entry


def _read_note(note: Path) -> Wheelhouse | None:
    try:
        return Wheelhouse(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _is_intact(tar: Path, noted: Wheelhouse) -> bool:
    return tar.is_file() and tar.stat().st_size == noted.bytes and sha256_of(tar) == noted.sha256


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest_of(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

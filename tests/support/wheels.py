"""Tiny wheels and locks, so that tests of packaging download nothing."""

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from deploy import wheelhouses


@pytest.fixture(scope="module")
def unlimited_disk() -> Iterator[None]:
    """Makes packaging ignore how full the disk is: test wheels are tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wheelhouses, "_BYTES_NEEDED", dict.fromkeys(wheelhouses.RECIPES, 0))
        yield


def make_wheel(
    folder: Path,
    name: str,
    files: Mapping[str, str],
    version: str = "1.0",
    tag: str = "py3-none-any",
    command: str = "",
) -> Path:
    """Writes a wheel with these files, and perhaps a console script; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    content = dict(files)
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    if command:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{command}\n"
    record = "".join(
        f"{path},{_digest(text)},{len(text.encode())}\n" for path, text in content.items()
    )
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return wheel


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.rstrip(b'=').decode()}"


def lock_of(wheels: Iterable[Path], marker: str = "") -> str:
    """Returns a lock as `uv pip compile --generate-hashes` writes it."""
    blocks = []
    for wheel in wheels:
        name, version, *_ = wheel.name.split("-")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        blocks.append(f"{name}=={version}{marker} \\\n    --hash=sha256:{digest}\n")
    return "".join(blocks)

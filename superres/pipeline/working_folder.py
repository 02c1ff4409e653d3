"""Hidden folders for unfinished files, which a later process clears when their owner was killed.

A folder is locked for as long as its process lives. The kernel releases the lock however the
process ends, so a folder that can be locked has nobody any more. Where a file system has no locks,
nothing is cleared.
"""

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from superres.imaging.names import HIDDEN

_FOLDER = re.compile(r"\.superres-[0-9a-f]{16}\.work")
_FILE = re.compile(r"\.superres-[0-9a-f]{16}\.part")  # superres.imaging.names.unfinished_name
_ABANDONED_SECONDS = 3600.0  # unfinished files have no lock, and are written within seconds


@contextmanager
def working_folder(parent: Path) -> Iterator[Path]:
    """A new folder in ``parent`` for unfinished files; what is in it at the end is deleted.

    Raises ``OSError`` when it cannot be made.
    """
    path, lock = _made(parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def clear_abandoned(parent: Path) -> None:
    """Deletes the working folders and unfinished files that killed processes left in a folder."""
    with os.scandir(parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(HIDDEN)]
    for name in names:
        with suppress(OSError):  # another process clears it, or it is somebody else's
            if _FOLDER.fullmatch(name):
                _clear_if_abandoned(parent / name)
            elif _FILE.fullmatch(name) and _age(parent / name) > _ABANDONED_SECONDS:
                (parent / name).unlink()


def _made(parent: Path) -> tuple[Path, int]:
    """The folder, and the descriptor that holds its lock."""
    while True:
        path = parent / f"{HIDDEN}{secrets.token_hex(8)}.work"
        path.mkdir()
        # Before it has its lock, another process may take it for abandoned.
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY)
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                return path, lock
            os.close(lock)


def _clear_if_abandoned(path: Path) -> None:
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(lock)


def _age(path: Path) -> float:
    return time.time() - path.stat().st_mtime

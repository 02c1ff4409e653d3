"""Whose turn it is among the isolated processes of an executor: they share it, or one has it alone.

The kernel releases the locks however their holder ends.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def executor_folder() -> Path:
    """A folder that all tasks of this executor have in common, and no other executor has.

    Spark deletes it also when this process is killed.
    """
    return Path(os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or tempfile.gettempdir())


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Waits until no other block has the folder's turn alone, or until none has it at all.

    Whoever waits to be alone holds the gate, so that no one else can begin before.
    """
    with _opened(_gate(folder)) as gate, _opened(_lock(folder)) as lock:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def is_someone_alone(folder: Path) -> bool:
    """Whether a block has the folder's turn alone now."""
    with suppress(FileNotFoundError):
        lock = os.open(_lock(folder), os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> Path:
    return folder / f"superres-{os.getuid()}.turn"


def _gate(folder: Path) -> Path:
    return folder / f"superres-{os.getuid()}.gate"

"""Who writes the tables of a run, which shows what a killed driver has left.

Each start of ``superres run`` is the owner of its tables: their names end with its id. On local
folders it holds a lock on a file of that name, ``owners/{owner}`` beside the tables. The kernel
releases the lock however the driver ends, so the next start of the same run, which can then lock
that file, deletes the tables of that owner. Another start at the same time holds its own lock, and
keeps its tables. Tables of single jobs (spark-submit) have no such file, and S3 has no locks: there
the bucket's lifecycle rules delete what is left.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from superres.pipeline import storage
from superres.pipeline.layout import Layout


def new_owner() -> str:
    """An id for an owner of tables."""
    return uuid.uuid4().hex[:8]


@contextmanager
def owned_tables(layout: Layout) -> Iterator[str]:
    """Yields a new owner, after the tables of those that are gone have been deleted.

    The block deletes the owner's tables itself. If it fails before, the next start does.
    """
    owner = new_owner()
    lock = None if storage.is_s3(layout.owners) else _registered(layout, owner)
    try:
        yield owner
        if lock is not None:
            _file(layout, owner).unlink()
    finally:
        if lock is not None:
            os.close(lock)


def _registered(layout: Layout, owner: str) -> int | None:
    """The descriptor that holds the owner's lock; None on a file system without locks."""
    folder = Path(layout.owners)
    folder.mkdir(parents=True, exist_ok=True)
    # Whoever makes or deletes a file there holds this one, so that no file is seen before its lock.
    with suppress(OSError), _locked(folder, fcntl.LOCK_EX):
        for file in folder.iterdir():
            with suppress(OSError), _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                _delete_tables(layout, file.name)
                file.unlink()
        own = os.open(_file(layout, owner), os.O_RDONLY | os.O_CREAT, 0o644)
        fcntl.flock(own, fcntl.LOCK_EX)
        return own
    return None


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def _file(layout: Layout, owner: str) -> Path:
    return Path(layout.owners, owner)


def _delete_tables(layout: Layout, owner: str) -> None:
    for folder in (layout.patches, layout.inference, layout.reconstructed):
        if not storage.is_s3(folder):
            for table in Path(folder).glob(f"attempt=*-{owner}"):
                storage.delete_tree(str(table))

"""Walks the image files below a folder, by name, without listing all of them first."""

import os
from collections.abc import Iterator
from pathlib import Path

from ingestion.sources.source import FailedUnit
from superres.errors import StorageError
from superres.imaging.files import is_image_name

_Identity = tuple[int, int]


def is_hidden(name: str) -> bool:
    """Whether a name is hidden by convention."""
    return name.startswith(".")


def walk(folder: Path) -> Iterator[Path | FailedUnit]:
    """Image files below a folder; holds the names of one folder and of its parents in memory.

    Follows linked folders except those that lead back into themselves. A folder that cannot be read
    yields a failed unit.
    """
    open_folders: list[tuple[Path, Iterator[tuple[str, bool]], _Identity]] = []

    def enter(path: Path) -> FailedUnit | None:
        try:
            status = path.stat()
            identity = status.st_dev, status.st_ino
            if all(identity != above for _, _, above in open_folders):
                open_folders.append((path, iter(_listed(path)), identity))
        except OSError as error:
            reason = f"{path}: cannot be listed: {error.strerror or error}"
            return FailedUnit(StorageError(reason))
        return None

    failed = enter(folder)
    if failed:
        yield failed
    while open_folders:
        path, names, _ = open_folders[-1]
        name, is_folder = next(names, ("", False))
        if not name:
            open_folders.pop()
        elif not is_folder:
            yield path / name
        elif failed := enter(path / name):
            yield failed


def _listed(folder: Path) -> list[tuple[str, bool]]:
    """The names of images and subfolders, sorted, and whether each is a folder."""
    with os.scandir(folder) as entries:
        return sorted(
            (entry.name, is_folder)
            for entry in entries
            if not is_hidden(entry.name)
            and ((is_folder := entry.is_dir()) or (is_image_name(entry.name) and entry.is_file()))
        )

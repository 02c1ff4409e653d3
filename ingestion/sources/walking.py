"""Image files below a folder, by name, without listing all of them first."""

import os
from collections.abc import Iterator
from pathlib import Path

from ingestion.sources.faults import Fault
from superres.errors import StorageError
from superres.imaging.files import is_image_name

_Identity = tuple[int, int]


def is_hidden(name: str) -> bool:
    """Whether a name is of the kind that people do not see."""
    return name.startswith(".")


def walk(folder: Path) -> Iterator[Path | Fault]:
    """Image files below a folder; one folder's names are in memory at a time, and its parents'.

    A linked folder is entered unless it leads back into itself. One that cannot be read is a fault.
    """
    begun: list[tuple[Path, Iterator[tuple[str, bool]], _Identity]] = []

    def enter(path: Path) -> Fault | None:
        try:
            status = path.stat()
            identity = status.st_dev, status.st_ino
            if all(identity != above for _, _, above in begun):
                begun.append((path, iter(_listed(path)), identity))
        except OSError as error:
            reason = f"{path}: cannot be listed: {error.strerror or error}"
            return Fault(StorageError(reason))
        return None

    fault = enter(folder)
    if fault:
        yield fault
    while begun:
        path, names, _ = begun[-1]
        name, is_folder = next(names, ("", False))
        if not name:
            begun.pop()
        elif not is_folder:
            yield path / name
        elif fault := enter(path / name):
            yield fault


def _listed(folder: Path) -> list[tuple[str, bool]]:
    """Names of images and folders, sorted, and whether each is a folder."""
    with os.scandir(folder) as entries:
        return sorted(
            (entry.name, is_folder)
            for entry in entries
            if not is_hidden(entry.name)
            and ((is_folder := entry.is_dir()) or (is_image_name(entry.name) and entry.is_file()))
        )

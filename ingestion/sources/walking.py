"""Walks the image files below a folder, by name, without listing all of them first."""

from collections.abc import Iterator
from pathlib import Path

from ingestion.sources.source import FailedUnit, LeftOutError
from superres.errors import RecordError, StorageError
from superres.imaging.names import readable
from superres.pipeline.input_folder import Listing, listed

_Identity = tuple[int, int]


def is_hidden(name: str) -> bool:
    """Whether a name is hidden by convention."""
    return name.startswith(".")


def walk(folder: Path) -> Iterator[Path | FailedUnit]:
    """Image files below a folder; holds the names of one folder and of its parents in memory.

    Follows linked folders except those that lead back into themselves. A folder that cannot be read
    yields a failed unit, and so does each remark about what is left out of a folder.
    """
    open_folders: list[tuple[Path, Iterator[tuple[str, bool]], _Identity]] = []

    def enter(path: Path) -> list[FailedUnit]:
        try:
            status = path.stat()
            identity = status.st_dev, status.st_ino
            if any(identity == above for _, _, above in open_folders):
                return []
            listing = listed(path)
        except OSError as error:
            reason = f"{readable(str(path))}: cannot be listed: {error.strerror or error}"
            return [FailedUnit(StorageError(reason))]
        except RecordError as error:
            return [FailedUnit(error)]
        open_folders.append((path, iter(_sorted(listing)), identity))
        return [FailedUnit(LeftOutError(remark)) for remark in listing.remarks]

    yield from enter(folder)
    while open_folders:
        path, names, _ = open_folders[-1]
        name, is_folder = next(names, ("", False))
        if not name:
            open_folders.pop()
        elif not is_folder:
            yield path / name
        else:
            yield from enter(path / name)


def _sorted(listing: Listing) -> list[tuple[str, bool]]:
    """The names of images and subfolders, sorted, and whether each is a folder."""
    images = ((name, False) for name in listing.images)
    return sorted([*images, *((name, True) for name in listing.folders)])

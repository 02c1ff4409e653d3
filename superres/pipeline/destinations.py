"""Where results are laid out for people: a local folder, a prefix in S3, or a zip archive."""

import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from superres.errors import StorageError
from superres.pipeline import storage
from superres.pipeline.storage import StoredFile

_COPIES_AT_ONCE = 8
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # that a zip archive can have


class Destination(Protocol):
    """Takes results and the manifest's files, by their paths."""

    def add_results(self, results: Mapping[str, StoredFile]) -> Iterator[tuple[str, str | None]]:
        """Copies results; yields each path when it is there, or with the reason why it is not."""

    def add_text(self, path: str, text: str) -> None:
        """Writes a text file."""


@contextmanager
def destination(location: str) -> Iterator[Destination]:
    """What ``location`` names, by its form; a zip archive appears whole when the block ends."""
    if not location.lower().endswith(".zip"):
        yield _Tree(storage.absolute(location))
        return
    with (
        storage.staged(storage.absolute(location)) as path,
        zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive,  # images are compressed already
    ):
        yield _Zip(archive)


class _Tree:
    """A local folder or a prefix in S3."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._there = {file.uri: file for file in storage.list_files(base)}

    def add_results(self, results: Mapping[str, StoredFile]) -> Iterator[tuple[str, str | None]]:
        def copy(entry: tuple[str, StoredFile]) -> tuple[str, str | None]:
            path, file = entry
            target = storage.join(self._base, path)
            try:
                if not self._has(target, file):
                    with storage.local_copy(file.uri) as local:
                        storage.write_file(target, local)
            except StorageError as error:
                return path, str(error)
            return path, None

        with ThreadPoolExecutor(_COPIES_AT_ONCE) as pool:
            yield from pool.map(copy, results.items())

    def add_text(self, path: str, text: str) -> None:
        storage.write_bytes(storage.join(self._base, path), text.encode())

    def _has(self, target: str, file: StoredFile) -> bool:
        """Whether an earlier copy of the same result is there."""
        copied = self._there.get(target)
        return copied is not None and (
            copied.size == file.size and copied.modified >= file.modified
        )


class _Zip:
    """An open archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add_results(self, results: Mapping[str, StoredFile]) -> Iterator[tuple[str, str | None]]:
        for path, file in results.items():
            try:
                with storage.local_copy(file.uri) as local:
                    self._add_file(path, local, file)
            except StorageError as error:
                yield path, str(error)
            else:
                yield path, None

    def add_text(self, path: str, text: str) -> None:
        self._archive.writestr(path, text)

    def _add_file(self, path: str, local: Path, file: StoredFile) -> None:
        entry = zipfile.ZipInfo(path, max(_FIRST_TIME, time.gmtime(file.modified)[:6]))
        entry.external_attr = 0o644 << 16
        with local.open("rb") as source, self._archive.open(entry, "w", force_zip64=True) as target:
            shutil.copyfileobj(source, target, 1 << 20)

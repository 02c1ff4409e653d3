"""Local folders. A file gets its name when it is complete, by a rename.

Nothing waits for the disk (fsync): that takes as long as making a small image, and what it saves
can be made again. When a process dies, nothing is lost. When the machine does, files of the last
seconds may be; docs/operations.md says what to do.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from superres.errors import StorageError
from superres.imaging.names import unfinished_name
from superres.pipeline.storage.store import StoredFile, check_size, full_disk_named, named_errors


def read_bytes(uri: str) -> bytes:
    """As ``storage.read_bytes``."""
    with named_errors(uri, "read"):
        return Path(uri).read_bytes()


def read_metadata(uri: str) -> bytes | None:
    """None: files have none."""
    return None


def write_bytes(uri: str, content: bytes, metadata: bytes | None) -> None:
    """As ``storage.write_bytes``; ``metadata`` must be None."""
    if metadata is not None:
        raise ValueError("local files have no metadata")
    temporary = _temporary(uri)
    with named_errors(uri, "write"):
        stream = _created(temporary)
    with _removed_on_failure(temporary), named_errors(uri, "write"):
        _write(stream, uri, content)
        os.replace(temporary, uri)  # noqa: PTH105  # Path costs as much as the rename


def write_new(uri: str, content: bytes) -> None:
    """As ``storage.write_new``: without a temporary name, which halves the cost."""
    with named_errors(uri, "write"):
        try:
            stream = _created(uri)
        except FileExistsError:
            stream = None
    if stream is None:
        write_bytes(uri, content, None)
        return
    with _removed_on_failure(uri), named_errors(uri, "write"):
        _write(stream, uri, content)


def write_file(uri: str, file: Path, metadata: bytes | None) -> None:
    """As ``storage.write_file``."""
    with staged(uri, metadata) as path, named_errors(uri, "write"):
        shutil.copyfile(file, path)
        check_size(uri, path.stat().st_size, file.stat().st_size)


def size_of(uri: str) -> int | None:
    """As ``storage.size_of``."""
    with named_errors(uri, "look up"):
        path = Path(uri)
        return path.stat().st_size if path.is_file() else None


def list_files(prefix: str, *, nested: bool) -> Iterator[StoredFile]:
    """As ``storage.list_files``, in any order."""
    with named_errors(prefix, "list"):
        for folder, folders, names in os.walk(prefix, onerror=_raise_unless_gone):
            if not nested:
                folders.clear()  # os.walk goes into those that are left
            for name in names:
                path = Path(folder) / name
                with suppress(FileNotFoundError):  # another process may just have renamed it
                    found = path.stat()
                    yield StoredFile(str(path), found.st_size, modified=found.st_mtime)


def delete(uri: str) -> None:
    """As ``storage.delete``."""
    with named_errors(uri, "delete"):
        Path(uri).unlink(missing_ok=True)


def delete_tree(prefix: str) -> None:
    """As ``storage.delete_tree``; another process may delete files at the same time."""
    with named_errors(prefix, "delete"):
        while Path(prefix).exists():
            with suppress(FileNotFoundError):
                shutil.rmtree(prefix)


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """The file itself."""
    if not Path(uri).is_file():
        raise StorageError(f"{uri}: no such file")
    yield Path(uri)


@contextmanager
def staged(uri: str, metadata: bytes | None) -> Iterator[Path]:
    """As ``storage.staged``; ``metadata`` must be None."""
    if metadata is not None:
        raise ValueError("local files have no metadata")
    target, temporary = Path(uri), Path(_temporary(uri))
    with named_errors(uri, "write"):
        target.parent.mkdir(parents=True, exist_ok=True)
    with _removed_on_failure(str(temporary)):
        with full_disk_named(uri):
            yield temporary
        with named_errors(uri, "write"):
            temporary.replace(target)


def _temporary(uri: str) -> str:
    """A hidden path in the same folder."""
    folder, _ = os.path.split(uri)
    return os.path.join(folder, unfinished_name())  # noqa: PTH118  # see write_bytes


def _created(path: str) -> BinaryIO:
    """Opens a new file, and makes its folder if necessary."""
    try:
        return open(path, "xb")  # noqa: PTH123  # closed by the caller
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return open(path, "xb")  # noqa: PTH123


def _write(stream: BinaryIO, uri: str, content: bytes) -> None:
    with stream:
        stream.write(content)
        stream.flush()
        check_size(uri, os.fstat(stream.fileno()).st_size, len(content))


@contextmanager
def _removed_on_failure(path: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error

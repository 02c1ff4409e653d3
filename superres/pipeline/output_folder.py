"""A folder of results, and the manifest in it that says which source each result is of.

A result is only ever replaced by one of the same source, so its name belongs to that source from
its first result on. The manifest, ``superres-results.json``, keeps that, with the digest of the
source and the settings. A file that it does not list is somebody else's.
"""

import fcntl
import hashlib
import os
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from superres.errors import RecordError, StorageError
from superres.imaging.files import unwritable
from superres.imaging.names import located, readable
from superres.pipeline import storage
from superres.pipeline.records import AppliedRecipe, Scale
from superres.pipeline.working_folder import clear_abandoned, working_folder

MANIFEST_NAME = "superres-results.json"
_LOCK_NAME = ".superres-results.lock"
_NAME_BYTES = 255  # the most that Linux, macOS and Windows all accept


class ResultSettings(BaseModel):
    """What a result was made with; ``recipe`` is None for the default one.

    ``page`` of the source, from 1, is None where none was asked for. ``model_digest`` is that of
    the network's weights.
    """

    # What a newer version has added stays when this one writes.
    model_config = ConfigDict(frozen=True, extra="allow")

    scale: Scale
    recipe: AppliedRecipe | None = None
    page: int | None = None
    model_digest: str


class Result(BaseModel):
    """One result: its source, SHA-256 of the source's content, and the settings.

    The source is a path, relative to the folder where it lies in it, so that both can be moved.
    Names and paths have ``%`` and bytes that are not UTF-8 escaped, as in ``caf%E9.jpg``.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    source: str
    source_sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
    settings: ResultSettings


class Manifest(BaseModel):
    """The results in a folder, by their names."""

    model_config = ConfigDict(frozen=True, extra="allow")

    version: Literal[1] = 1
    results: dict[str, Result] = {}


class OutputFolder:
    """A local folder that results are written to; several commands may write at once.

    What commands that were killed have left unfinished there is deleted.

    Args:
        path: made, if necessary.
        scale: of the results.
        recipe: of the results; None for the default one.
        suffix: of the results' names, with the dot.
        only_name: that every result is to have, instead of one made from its source's.

    Raises:
        RecordError: the folder's manifest cannot be read.
    """

    def __init__(
        self,
        path: Path,
        scale: Scale,
        recipe: AppliedRecipe | None,
        *,
        suffix: str = ".png",
        only_name: str | None = None,
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        clear_abandoned(path)
        self._path = path
        self._scale = scale
        self._recipe = recipe
        self._suffix = suffix
        self._only_name = only_name
        self._version = self._version_there()
        self._manifest = read_manifest(path)

    @contextmanager
    def unfinished(self) -> Iterator[Path]:
        """A path to write a result to, in a folder of its own that is deleted at the end.

        Raises ``StorageError`` when the folder cannot be written to.
        """
        with ExitStack() as stack:
            try:
                folder = stack.enter_context(working_folder(self._path))
            except OSError as error:
                raise unwritable(self._path, error) from None
            yield folder / "result"

    def add(
        self,
        finished: Path,
        source: Path,
        source_sha256: str,
        model_digest: str,
        page: int | None = None,
    ) -> Path:
        """Moves a finished result to the name that its source has in this folder; returns the path.

        ``photo.jpg`` gets ``photo_x2.png``. If that is another source's, or a file of somebody
        else, it gets ``photo.jpg_x2.png``, and if that is taken as well,
        ``photo.jpg-1f2e3d4c_x2.png``, with a digest of its path. It keeps the name that it got.
        A page that was asked for is a source of its own: ``scan-page3_x2.png`` of ``scan.tif``.

        Raises ``StorageError`` when all three are taken, or the folder cannot be written to, and
        ``RecordError`` when the manifest cannot be read.
        """
        origin = self._relative(source)
        settings = ResultSettings(
            scale=self._scale, recipe=self._recipe, page=page, model_digest=model_digest
        )
        entry = Result(source=origin, source_sha256=source_sha256, settings=settings)
        with self._locked():
            if self._version_there() != self._version:  # another command has written it
                self._manifest = read_manifest(self._path)
            name = self._name_for(origin, source.name, page)
            # First, so that there is never a result that is nobody's.
            self._write({**self._manifest.results, _escaped(name): entry})
            try:
                finished.replace(self._path / name)
            except OSError as error:
                raise unwritable(self._path, error) from None
        return self._path / name

    def _write(self, results: dict[str, Result]) -> None:
        changed = {"results": dict(sorted(results.items()))}
        self._manifest = self._manifest.model_copy(update=changed)
        content = self._manifest.model_dump_json(indent=2).encode()
        storage.write_bytes(str(self._path / MANIFEST_NAME), content + b"\n")
        self._version = self._version_there()

    def _version_there(self) -> tuple[int, int, int] | None:
        """Changes with the manifest, which takes long to read where it lists thousands."""
        try:
            status = (self._path / MANIFEST_NAME).stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_size, status.st_mtime_ns

    def _relative(self, source: Path) -> str:
        """What identifies a source here: its path, from this folder if it lies in it."""
        folder, path = Path(os.path.realpath(self._path)), located(source)
        return _escaped(str(path.relative_to(folder) if path.is_relative_to(folder) else path))

    def _name_for(self, origin: str, name: str, page: int | None) -> str:
        # On some file systems a.png and A.PNG are the same file, and é has two encodings.
        owners = {
            _folded(known): (result.source, result.settings.page)
            for known, result in self._manifest.results.items()
        }
        ending = f"{'' if page is None else f'-page{page}'}_x{self._scale}{self._suffix}"
        candidates = [self._only_name] if self._only_name else _candidates(origin, name, ending)
        owner = (origin, page)
        owned = (each for each in candidates if owners.get(_folded(_escaped(each))) == owner)
        free = (
            each
            for each in candidates
            if _folded(_escaped(each)) not in owners and not os.path.lexists(self._path / each)
        )
        chosen = next(owned, None) or next(free, None)
        if chosen is None:
            raise StorageError(
                f"{readable(str(self._path))}: other files already have the names"
                f" {readable(', '.join(candidates))}; choose another --output"
            )
        return chosen

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Only one process at a time is inside."""
        try:
            # The manifest itself is replaced each time, so its lock would be of an old file.
            lock = (self._path / _LOCK_NAME).open("ab")
        except OSError as error:
            raise unwritable(self._path, error) from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; an empty one where there is none.

    Raises ``RecordError`` with one line when it cannot be read.
    """
    uri = str(folder / MANIFEST_NAME)
    if not storage.exists(uri):
        return Manifest()
    try:
        return Manifest.model_validate_json(storage.read_bytes(uri))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        if where == "version":
            reason = f"version {fault['input']!r} is unknown here (1 is known); upgrade superres"
        else:
            reason = f"not readable: {where and f'{where}: '}{fault['msg']}; move it away to start "
            reason += "a new one: results that are there will then be left alone"
        raise RecordError(f"{readable(uri)}: {' '.join(reason.split())}") from None


def results_in(folder: Path) -> frozenset[str]:
    """Names of the results in a folder, which are no sources, in the form of ``is_result``."""
    return frozenset(map(_folded, read_manifest(folder).results))


def is_result(name: str, results: frozenset[str]) -> bool:
    """Whether a file of this name is one of the ``results`` in its folder."""
    return bool(results) and _folded(_escaped(name)) in results


def _candidates(origin: str, name: str, ending: str) -> list[str]:
    """The names that a source's result may have, in order of preference."""
    digest = hashlib.sha256(origin.encode()).hexdigest()[:8]
    bases = (Path(name).stem, name, f"{name}-{digest}")
    return list(dict.fromkeys(_fitting(base, digest, ending) for base in bases))


def _fitting(base: str, digest: str, ending: str) -> str:
    """``base`` and ``ending``; shortened if necessary, with a digest to tell apart what is cut."""
    if len(os.fsencode(base + ending)) <= _NAME_BYTES:
        return base + ending
    room = _NAME_BYTES - len(f"-{digest}{ending}")
    while len(os.fsencode(base)) > room:
        base = base[:-1]
    return f"{base}-{digest}{ending}"


def _escaped(text: str) -> str:
    """The same as valid UTF-8, which JSON has to be."""
    return "".join(
        f"%{ord(character) - 0xDC00:02X}" if "\udc80" <= character <= "\udcff" else character
        for character in text.replace("%", "%25")
    )


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()

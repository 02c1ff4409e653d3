"""Names of files: as people read them, as libraries accept them, and of unfinished files."""

import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HIDDEN = ".superres-"
"""How the names of unfinished files, and of the folders for them, begin."""

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def readable(text: str) -> str:
    r"""Text that can be printed on one line and encoded as UTF-8, whatever bytes a name has.

    Bytes that are not UTF-8, which Python keeps as lone surrogates, become ``\xe9``; so do control
    characters, which could break the line or steer the terminal.
    """
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":  # PEP 383
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def unfinished_name() -> str:
    """A new hidden name for a file that gets its own when it is finished.

    It does not contain that name: the two together could be longer than file systems allow.
    """
    return f"{HIDDEN}{secrets.token_hex(8)}.part"


def located(path: Path) -> Path:
    """The absolute path, without links among its folders; the file's own name stays.

    Unlike ``Path.resolve``, it has no trouble with a link that leads back to itself.
    """
    return Path(os.path.realpath(path.parent)) / path.name


@contextmanager
def utf8_alias(path: Path) -> Iterator[Path]:
    """A path to the same file that is UTF-8, for libvips; ``path`` itself where that is."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory(prefix="superres-") as folder:
            alias = Path(folder) / "image"
            alias.symlink_to(path.absolute())
            yield alias
    else:
        yield path

"""The part of EXIF that everybody may see: orientation, camera and date.

What is kept is listed, and everything else is left out: position, names, serial numbers, comments,
maker notes, thumbnails, and whatever tags will be invented.
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

from superres.imaging.jpeg_segments import EXIF

PREFIX = EXIF
MOST_BYTES = 1 << 20
"""Of EXIF that is read; a JPEG can hold 64 kB."""
_MOST_ENTRIES = 1000  # of a directory; cameras write a hundred
_MOST_CHARACTERS = 64
_ASCII, _SHORT, _LONG = 2, 3, 4


def _text(value: bytes) -> str | None:
    text = value.partition(b"\0")[0].decode("ascii", "replace").strip()
    return text if text.isprintable() and text.isascii() and text else None


def _date(value: bytes) -> str | None:
    text = _text(value)
    return text if text and re.fullmatch(r"\d{4}(:\d\d){2} \d\d(:\d\d){2}", text) else None


_TextReader = Callable[[bytes], str | None]
_ORIENTATIONS, _COLOUR_SPACES = range(1, 9), (1, 2, 0xFFFF)
_NUMBERS = {Base.Orientation: _ORIENTATIONS, Base.ColorSpace: _COLOUR_SPACES}
_TEXTS: Mapping[int, _TextReader] = {
    Base.Make: _text,
    Base.Model: _text,
    Base.DateTime: _date,
    Base.DateTimeOriginal: _date,
    Base.DateTimeDigitized: _date,
}
_IN_IMAGE = frozenset([Base.Orientation, Base.Make, Base.Model, Base.DateTime])


@dataclass(frozen=True)
class _Directories:
    """The directories of EXIF; what cannot be read is taken to be absent."""

    content: bytes
    order: str

    def first(self) -> int:
        """The offset of the first directory."""
        return self._number("I", 4)

    def entries(self, offset: int) -> dict[int, tuple[int, int, int]]:
        """Kind, number of values and offset of the value field of each tag."""
        count = min(self._number("H", offset), _MOST_ENTRIES)
        found: dict[int, tuple[int, int, int]] = {}
        for at in range(offset + 2, offset + 2 + 12 * count, 12):
            if at + 12 > len(self.content):
                break
            tag, kind, values = struct.unpack_from(f"{self.order}HHI", self.content, at)
            found.setdefault(tag, (kind, values, at + 8))
        return found

    def number(self, entry: tuple[int, int, int]) -> int | None:
        """The value of an entry that has one number."""
        kind, count, at = entry
        if count != 1 or kind not in (_SHORT, _LONG):
            return None
        return self._number("H" if kind == _SHORT else "I", at)

    def text(self, entry: tuple[int, int, int]) -> bytes:
        """The bytes of an entry of text, empty if it is none or too long."""
        kind, count, at = entry
        if kind != _ASCII or count > _MOST_CHARACTERS:
            return b""
        start = at if count <= 4 else self._number("I", at)
        return self.content[start : start + count]

    def _number(self, code: str, at: int) -> int:
        size = struct.calcsize(f"{self.order}{code}")
        field = self.content[at : at + size]
        return int(struct.unpack(f"{self.order}{code}", field)[0]) if len(field) == size else 0


def public_exif(content: bytes) -> bytes:
    """EXIF, from its TIFF header on, with what everybody may see; empty if nothing is left.

    Damaged EXIF is no error: what cannot be read is left out.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(content[:4])
    if order is None or len(content) > MOST_BYTES:
        return b""
    directories = _Directories(content, order)
    image = directories.entries(directories.first())
    pointer = image.get(IFD.Exif)
    photo = directories.entries(directories.number(pointer) or 0) if pointer else {}
    kept = Image.Exif()
    kept.update(_kept(directories, image, _IN_IMAGE))
    in_photo = _kept(directories, photo, (_NUMBERS.keys() | _TEXTS.keys()) - _IN_IMAGE)
    if in_photo:
        kept.get_ifd(IFD.Exif).update(in_photo)
        kept[IFD.Exif] = kept.get_ifd(IFD.Exif)
    return kept.tobytes().removeprefix(PREFIX) if kept else b""


def _kept(
    directories: _Directories,
    entries: Mapping[int, tuple[int, int, int]],
    tags: frozenset[int] | set[int],
) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for tag in sorted(tags & entries.keys()):
        if tag in _NUMBERS:
            number = directories.number(entries[tag])
            if number in _NUMBERS[Base(tag)]:
                found[tag] = number
        elif text := _TEXTS[tag](directories.text(entries[tag])):
            found[tag] = text
    return found

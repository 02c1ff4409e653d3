"""Directories of tags, as TIFF and EXIF have them, to values and back, byte for byte.

Pillow's writer replaces letters outside ASCII and guesses the types of values, so a photographer's
name or comment would not come out as it was; here a value is what the file has. What points outside
the file, or is of an unknown type, is left out.
"""

import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal, TypeAlias

import numpy as np

Order = Literal["<", ">"]

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, DOUBLE, LONG8 = 1, 2, 3, 4, 5, 7, 12, 16
# Code of struct of each type: the last letter is the number, and how many there are in a value.
_CODES = {
    **{BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "II", 6: "b", UNDEFINED: "B"},
    **{8: "h", 9: "i", 10: "ii", 11: "f", DOUBLE: "d", 13: "I", LONG8: "Q", 17: "q", 18: "Q"},
}
_MOST_ENTRIES = 1_000  # cameras write a hundred
_MOST_OFFSET = 2**63 - 1  # that a stream can be moved to
MOST_BYTES = 16 << 20
"""Of the values of a directory."""


@dataclass(frozen=True)
class Value:
    """What a tag says.

    Attributes:
        kind: TIFF's number of its type.
        data: its bytes, numbers little-endian.
        place: the offset where the bytes are to stay; None: they go with their directory.
    """

    kind: int
    data: bytes
    place: int | None = None

    @property
    def count(self) -> int:
        """How many values of the type there are."""
        return len(self.data) // struct.calcsize("<" + _CODES[self.kind])

    @property
    def numbers(self) -> tuple[int | float, ...]:
        """The values; of a rational, numerator and denominator."""
        code = _CODES[self.kind]
        return struct.unpack(f"<{self.count * len(code)}{code[0]}", self.data)

    @property
    def number(self) -> float | None:
        """The first value as one finite number; None if there is none, or a fraction over 0."""
        first, *others = self.numbers
        if len(_CODES[self.kind]) == 1:
            return first if math.isfinite(first) else None
        return first / others[0] if others[0] else None


Directory: TypeAlias = Mapping[int, "Value | Directory"]
"""Tags, with values or the directories below."""


def value(kind: int, numbers: Iterable[int | float]) -> Value:
    """A value of numbers of a type."""
    numbers = tuple(numbers)
    return Value(kind, struct.pack(f"<{len(numbers)}{_CODES[kind][0]}", *numbers))


def rational(number: float) -> Value:
    """A fraction with four decimals; up to 400,000."""
    return value(RATIONAL, (round(number * 10_000), 10_000))


@dataclass(frozen=True)
class Layout:
    """How directories are written: byte order, and sizes of classic TIFF or BigTIFF."""

    order: Order = "<"
    is_big: bool = False

    @property
    def header(self) -> bytes:
        """What is before the first directory, which follows at once."""
        mark = b"II" if self.order == "<" else b"MM"
        if self.is_big:
            return mark + struct.pack(self.order + "HHHQ", 43, 8, 0, 16)
        return mark + struct.pack(self.order + "HI", 42, 8)

    def header_for(self, first: int) -> bytes:
        """A classic header whose first directory is at an offset."""
        return self.header[:4] + struct.pack(self.order + "I", first)

    @property
    def count(self) -> struct.Struct:
        """The number of entries."""
        return struct.Struct(self.order + ("Q" if self.is_big else "H"))

    @property
    def offset(self) -> struct.Struct:
        """An offset, and the room for a value in an entry."""
        return struct.Struct(self.order + ("Q" if self.is_big else "I"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, number of values, value or its offset."""
        return struct.Struct(self.order + ("HHQ8s" if self.is_big else "HHI4s"))


def layout_of(head: bytes) -> tuple[Layout, int]:
    """The layout that a file begins with, and the offset of its first directory.

    Raises:
        ValueError: it is no TIFF.
    """
    order: Order = "<" if head[:2] == b"II" else ">"
    layout = Layout(order, is_big=head[2:4] in (b"+\0", b"\0+"))
    if head[:4] != layout.header[:4] or len(head) < len(layout.header):
        raise ValueError("no header of TIFF")
    (first,) = layout.offset.unpack_from(head, 8 if layout.is_big else 4)
    return layout, first


def read_directory(
    stream: BinaryIO, layout: Layout, start: int, staying: int | None = None
) -> tuple[dict[int, Value], int]:
    """The values of the directory at an offset, and the offset of the next one.

    Only the value of the tag ``staying`` has its place.

    Raises:
        ValueError: the directory is damaged, or larger than any program writes.
    """
    if start > _MOST_OFFSET:
        raise ValueError("a directory behind the end of the file")
    stream.seek(start)
    counted = stream.read(layout.count.size)
    if len(counted) < layout.count.size:
        raise ValueError("a directory behind the end of the file")
    (count,) = layout.count.unpack(counted)
    if count > _MOST_ENTRIES:
        raise ValueError(f"{count:,} tags")
    table = stream.read(count * layout.entry.size)
    following = stream.read(layout.offset.size)
    if len(table) < count * layout.entry.size:
        raise ValueError("a directory is cut off")
    found: dict[int, Value] = {}
    room = MOST_BYTES
    for tag, kind, number, field in layout.entry.iter_unpack(table):
        if kind in _CODES and tag not in found and number > 0:
            size = number * struct.calcsize("<" + _CODES[kind])
            if size <= room and (read := _value(stream, layout, kind, size, field)) is not None:
                found[tag] = read if tag == staying else replace(read, place=None)
                room -= size
    return found, layout.offset.unpack(following)[0] if len(following) == layout.offset.size else 0


def _value(stream: BinaryIO, layout: Layout, kind: int, size: int, field: bytes) -> Value | None:
    place = None
    if size <= layout.offset.size:
        data = field[:size]
    else:
        (place,) = layout.offset.unpack(field)
        stream.seek(min(place, _MOST_OFFSET))
        data = stream.read(size)
    return Value(kind, _swapped(kind, data, layout.order), place) if len(data) == size else None


def write_directory(directory: Directory, layout: Layout, start: int) -> bytes:
    """The bytes of a directory at an offset, with its values and those below; of even length."""
    table_bytes = layout.count.size + len(directory) * layout.entry.size + layout.offset.size
    table, behind = [layout.count.pack(len(directory))], b""
    for tag, each in sorted(directory.items()):
        free = start + table_bytes + len(behind)
        if isinstance(each, Value):
            field, more = _field(each, layout, free)
            table.append(layout.entry.pack(tag, each.kind, each.count, field))
        else:
            more = write_directory(each, layout, free)
            kind = 18 if layout.is_big else LONG
            table.append(layout.entry.pack(tag, kind, 1, layout.offset.pack(free)))
        behind += more + bytes(len(more) % 2)
    return b"".join(table) + layout.offset.pack(0) + behind


def _field(each: Value, layout: Layout, free: int) -> tuple[bytes, bytes]:
    """What an entry holds, and what goes behind the directory."""
    data = _swapped(each.kind, each.data, layout.order)
    if len(data) <= layout.offset.size:
        return data.ljust(layout.offset.size, b"\0"), b""
    if each.place is not None:
        return layout.offset.pack(each.place), b""
    return layout.offset.pack(free), data


def _swapped(kind: int, data: bytes, order: Order) -> bytes:
    """Numbers from little-endian to an order, or back."""
    item = struct.calcsize("<" + _CODES[kind][0])
    if order == "<" or item == 1:
        return data
    return np.frombuffer(data, f">u{item}").astype(f"<u{item}").tobytes()

"""Writes TIFF files of many kinds, put together from TIFF 6.0 and its supplements."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]
Order = Literal["<", ">"]
"""Little-endian or big-endian."""

MIN_IS_BLACK, RGB, PALETTE, CMYK, YCBCR, LAB = 1, 2, 3, 5, 6, 8
UNCOMPRESSED, OLD_JPEG, DEFLATE = 1, 6, 8
UNSPECIFIED, PREMULTIPLIED, ALPHA = 0, 1, 2

# Stand for values that are only known when the file is laid out.
OFFSET_OF_DATA, SIZE_OF_DATA = -1, -2

_SHORT, _LONG, _LONG8 = 3, 4, 16
_STRIP_OFFSETS, _TILE_OFFSETS = 273, 324
_CODES = {_SHORT: "H", _LONG: "I", _LONG8: "Q"}


@dataclass(frozen=True)
class Page:
    """One page: samples (H, W, C) and how they are described and stored.

    Attributes:
        samples: their type is the file's, unless ``data`` is given.
        photometric: TIFF's code.
        extra: kinds of the samples behind the colours; None leaves the tag out.
        compression: uncompressed or deflate, unless ``data`` is given.
        tile: side of a tile; None for one strip.
        planar: one channel behind the other.
        data: the stored data, for what is not written here: one strip or tile.
        bits: of a sample, if not those of the samples' type.
        tags: further tags: number to type and values.
    """

    samples: Samples
    photometric: int = RGB
    extra: tuple[int, ...] | None = None
    compression: int = UNCOMPRESSED
    tile: int | None = None
    planar: bool = False
    data: bytes | None = None
    bits: int | None = None
    tags: dict[int, tuple[int, tuple[int, ...]]] = field(default_factory=dict)


def write(*pages: Page, order: Order = "<", big: bool = False, ring: bool = False) -> bytes:
    """A TIFF, or with ``big`` a BigTIFF, of these pages; in a ring the last points at the first."""
    layout = _BigLayout(order) if big else _Layout(order)
    out = layout.header
    for number, page in enumerate(pages):
        is_last = number + 1 == len(pages)
        out += _with_directory(page, layout, len(out), is_last, len(layout.header) if ring else 0)
    return out


@dataclass(frozen=True)
class _Layout:
    """Widths of numbers in a directory."""

    order: Order
    count: str = "H"
    offset: str = "I"

    @property
    def header(self) -> bytes:
        return self._mark + struct.pack(self.order + "HI", 42, 8)

    @property
    def room(self) -> int:
        """Bytes of values that an entry holds itself."""
        return struct.calcsize(self.offset)

    @property
    def _mark(self) -> bytes:
        return b"II" if self.order == "<" else b"MM"

    def size(self, entries: int) -> int:
        return struct.calcsize(self.count) + entries * (4 + 2 * self.room) + self.room


@dataclass(frozen=True)
class _BigLayout(_Layout):
    count: str = "Q"
    offset: str = "Q"

    @property
    def header(self) -> bytes:
        return self._mark + struct.pack(self.order + "HHHQ", 43, 8, 0, 16)


def _with_directory(
    page: Page, layout: _Layout, start: int, is_last: bool, after_last: int
) -> bytes:
    """A directory at ``start``, the values that do not fit into it, and the blocks."""
    blocks = list(_blocks(page, layout.order))
    tags = _tags(page, blocks)
    values_at = start + layout.size(len(tags))
    sizes = [struct.calcsize(_CODES[kind]) * len(content) for kind, content in tags.values()]
    data_at = values_at + sum(size + size % 2 for size in sizes if size > layout.room)
    known = {OFFSET_OF_DATA: data_at, SIZE_OF_DATA: sum(map(len, blocks))}
    table, values = struct.pack(layout.order + layout.count, len(tags)), b""
    for tag, (kind, content) in sorted(tags.items()):
        shift = data_at if tag in (_STRIP_OFFSETS, _TILE_OFFSETS) else 0
        numbers = [known.get(value, value + shift) for value in content]
        packed = struct.pack(f"{layout.order}{len(numbers)}{_CODES[kind]}", *numbers)
        table += struct.pack(f"{layout.order}HH{layout.offset}", tag, kind, len(content))
        if len(packed) > layout.room:
            table += struct.pack(layout.order + layout.offset, values_at + len(values))
            values += packed + b"\0" * (len(packed) % 2)
        else:
            table += packed.ljust(layout.room, b"\0")
    following = after_last if is_last else data_at + known[SIZE_OF_DATA]
    table += struct.pack(layout.order + layout.offset, following)
    return table + values + b"".join(blocks)


def _tags(page: Page, blocks: list[bytes]) -> dict[int, tuple[int, tuple[int, ...]]]:
    height, width, channels = page.samples.shape
    sizes = tuple(len(block) for block in blocks)
    offsets = tuple(int(each) for each in np.cumsum((0, *sizes[:-1])))
    bits = page.bits or 8 * page.samples.dtype.itemsize
    kinds = {"u": 1, "i": 2, "f": 3, "c": 6}
    tags = {
        256: (_LONG, (width,)),
        257: (_LONG, (height,)),
        258: (_SHORT, (bits,) * channels),
        259: (_SHORT, (page.compression,)),
        262: (_SHORT, (page.photometric,)),
        277: (_SHORT, (channels,)),
        284: (_SHORT, (2 if page.planar else 1,)),
        339: (_SHORT, (kinds[page.samples.dtype.kind],) * channels),
    }
    if page.tile:
        tags |= {322: (_SHORT, (page.tile,)), 323: (_SHORT, (page.tile,))}
        tags |= {_TILE_OFFSETS: (_LONG, offsets), 325: (_LONG, sizes)}
    else:
        tags |= {_STRIP_OFFSETS: (_LONG, offsets), 278: (_LONG, (height,)), 279: (_LONG, sizes)}
    if page.extra is not None:
        tags[338] = (_SHORT, page.extra)
    return tags | page.tags


def _blocks(page: Page, order: Order) -> Iterator[bytes]:
    """The strips or tiles, in the order of the file."""
    if page.data is not None:
        yield page.data
        return
    channels = page.samples.shape[2]
    planes = np.split(page.samples, channels, axis=2) if page.planar else [page.samples]
    for plane in planes:
        for block in _tiles(plane, page.tile) if page.tile else [plane]:
            raw = block.astype(block.dtype.newbyteorder(order)).tobytes()
            yield zlib.compress(raw) if page.compression == DEFLATE else raw


def _tiles(plane: Samples, side: int) -> Iterator[Samples]:
    """Left to right, top to bottom, the last ones filled up."""
    height, width = plane.shape[:2]
    whole = np.pad(plane, ((0, -height % side), (0, -width % side), (0, 0)))
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield whole[top : top + side, left : left + side]

"""Encodes strips as TIFF, with about a megabyte of rows in memory at a time.

The directory comes first, with room for where the strips will be, and is written again when that is
known. ISA-L deflates the rows, each sample less its left neighbour (predictor 2). Every reader
opens Deflate; Zstandard is smaller, but Photoshop, macOS and Windows do not read it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from superres.imaging.colour import Planes
from superres.imaging.info import ImageInfo
from superres.imaging.metadata.directories import (
    BYTE,
    LONG,
    LONG8,
    SHORT,
    UNDEFINED,
    Directory,
    Layout,
    Value,
    rational,
    value,
    write_directory,
)
from superres.imaging.metadata.exif import read_exif
from superres.imaging.metadata.model import Metadata
from superres.imaging.rows import interleaved
from superres.imaging.whole_file import WholeFile

_BLOCK_BYTES = 1 << 20
_CLASSIC_BYTES = 2**32 - (64 << 20)
"""Above this, offsets of 32 bits may not reach the end; what is kept free is for metadata."""
_LEVEL = 1  # ISA-L's; above, a photograph gets hardly smaller

_GREY, _RGB = 1, 2
_DEFLATE, _HORIZONTAL, _INTERLEAVED, _INCH = 8, 2, 1, 2
_UNASSOCIATED_ALPHA = 2
_OFFSETS, _SIZES = 273, 279
_XMP, _IPTC, _ICC = 700, 33723, 34675


def encode_tiff(
    strips: Iterable[Planes],
    info: ImageInfo,
    file: WholeFile,
    metadata: Metadata,
    profile: bytes,
) -> None:
    """Writes strips to ``file``: 8 or 16 bits, grey or RGB, perhaps with alpha.

    Above 4 GiB of samples it is a BigTIFF, or where the metadata is that of one.

    Raises:
        ValueError: the strips do not fit ``info``.
        StorageError: the file cannot be written.
        Exception: an exception of the iterator of strips, unchanged.
    """
    row_bytes = info.width * info.channels * info.dtype.itemsize
    rows = min(info.height, max(1, _BLOCK_BYTES // row_bytes))
    count = -(-info.height // rows)
    is_big = metadata.is_big or row_bytes * info.height > _CLASSIC_BYTES
    layout, tags = Layout(is_big=is_big), _tags(info, rows, metadata, profile)
    room = len(_start(layout, tags, [0] * count, [0] * count))
    file.write(bytes(room))
    sizes = []
    for block in interleaved(strips, info, rows, byte_order="<"):
        deflated = isal_zlib.compress(_predicted(block), _LEVEL)
        file.write(deflated)
        sizes.append(len(deflated))
    offsets = [room, *(room + np.cumsum(sizes[:-1])).tolist()]
    file.seek(0)
    file.write(_start(layout, tags, offsets, sizes))


def _predicted(block: NDArray[Any]) -> NDArray[Any]:
    """Each sample less its left neighbour of the same channel, modulo its range."""
    predicted = block.copy()
    np.subtract(block[:, 1:], block[:, :-1], out=predicted[:, 1:])
    return predicted


def _start(layout: Layout, tags: Directory, offsets: list[int], sizes: list[int]) -> bytes:
    """Header and directory; as long for any numbers."""
    kind = LONG8 if layout.is_big else LONG
    strips = {_OFFSETS: value(kind, offsets), _SIZES: value(kind, sizes)}
    return layout.header + write_directory({**tags, **strips}, layout, len(layout.header))


def _tags(info: ImageInfo, rows: int, metadata: Metadata, profile: bytes) -> Directory:
    """All tags but where the strips are."""
    tags: dict[int, Value | Directory] = {}
    if metadata.exif:
        exif = read_exif(metadata.exif)
        tags |= exif.movable().directories()
    tags |= {
        256: value(LONG, [info.width]),
        257: value(LONG, [info.height]),
        258: value(SHORT, [info.bit_depth] * info.channels),
        259: value(SHORT, [_DEFLATE]),
        262: value(SHORT, [_GREY if info.colours == 1 else _RGB]),
        277: value(SHORT, [info.channels]),
        278: value(LONG, [rows]),
        284: value(SHORT, [_INTERLEAVED]),
        317: value(SHORT, [_HORIZONTAL]),
        _ICC: Value(UNDEFINED, profile),
    }
    if info.has_alpha:
        tags[338] = value(SHORT, [_UNASSOCIATED_ALPHA])
    if metadata.density:
        x, y = map(rational, metadata.density)
        tags |= {282: x, 283: y, 296: value(SHORT, [_INCH])}
    if metadata.xmp:
        tags[_XMP] = Value(BYTE, metadata.xmp)
    if metadata.iptc:
        tags[_IPTC] = Value(UNDEFINED, metadata.iptc)
    return tags | dict(metadata.geo)

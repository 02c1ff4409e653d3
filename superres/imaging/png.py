"""Encodes strips of planes as PNG, with one strip in memory at a time.

A PNG is a header, one zlib stream of filtered rows, and an end mark. Writing it here rather than
with an imaging library keeps the caller's iterator in the caller's thread, keeps 16-bit samples as
they are, and allows another compressor: ISA-L (python-isal) deflates a photograph about three times
as fast as libvips with zlib-ng, for the same size. Equal pixels and
metadata give equal bytes.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from superres.imaging.colour import Planes
from superres.imaging.info import ImageInfo
from superres.imaging.rows import interleaved
from superres.imaging.whole_file import whole_file

COMPRESSION = 1
"""ISA-L's levels are 0 to 3; above 1 a photograph gets no smaller, at 0 it is a quarter larger."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# PNG's colour type by number of channels (PNG specification, 11.2.1).
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
# "Up": each byte minus the one above. On photographs it compresses within 5 % of the best filter
# for a tenth of that one's cost.
_FILTER_UP = 2
# Rows filtered at a time, in bytes: a block that stays in the processor's cache.
_BLOCK_BYTES = 1 << 20

_Write = Callable[[bytes], object]


def encode_png(
    strips: Iterable[Planes],
    info: ImageInfo,
    path: Path,
    *,
    compression: int = COMPRESSION,
    before_pixels: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Writes strips to ``path``; the file appears there whole or not at all.

    Args:
        strips: (C, h, W) arrays of ``info.dtype`` from top to bottom; heights may differ and add up
            to ``info.height``.
        info: size, channels and depth of the image.
        path: the file to write or replace, in an existing folder.
        compression: 0 (fastest) to 3.
        before_pixels: names and contents of the chunks of metadata.

    Raises:
        ValueError: the strips do not fit ``info``.
        StorageError: the file cannot be written; nothing of it stays.
        ImageRejectedError: there is not enough memory to make or encode the strips.
        Exception: any other exception of the iterator of strips, unchanged.
    """
    with whole_file(path, info) as file:
        write_png(file.write, strips, info, compression=compression, before_pixels=before_pixels)


def encode_png_bytes(planes: Planes, *, compression: int = COMPRESSION) -> bytes:
    """Encodes a (C, H, W) uint8 or uint16 array of 1 to 4 channels as a PNG file."""
    channels, height, width = planes.shape
    info = ImageInfo(width, height, channels, 8 * planes.dtype.itemsize)
    stream = io.BytesIO()
    write_png(stream.write, [planes], info, compression=compression)
    return stream.getvalue()


def write_png(
    write: _Write,
    strips: Iterable[Planes],
    info: ImageInfo,
    *,
    compression: int | None = COMPRESSION,
    before_pixels: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Calls ``write`` with each piece of a PNG; with ``compression`` None it is as large as raw.

    The other arguments are those of ``encode_png``.
    """
    deflate = zlib.compressobj(0) if compression is None else isal_zlib.compressobj(compression)
    write(_SIGNATURE)
    colour_type = _COLOUR_TYPES[info.channels]
    size = struct.pack(">II", info.width, info.height)
    _write_chunk(write, b"IHDR", size + bytes((info.bit_depth, colour_type, 0, 0, 0)))
    for name, content in before_pixels:
        _write_chunk(write, name, content)
    for filtered in _filtered(_blocks(strips, info)):
        if compressed := deflate.compress(filtered.data):
            _write_chunk(write, b"IDAT", compressed)
    _write_chunk(write, b"IDAT", deflate.flush())
    _write_chunk(write, b"IEND", b"")


def _write_chunk(write: _Write, name: bytes, content: bytes) -> None:
    length, checksum = len(content), zlib.crc32(content, zlib.crc32(name))
    write(b"".join((struct.pack(">I", length), name, content, struct.pack(">I", checksum))))


def _blocks(strips: Iterable[Planes], info: ImageInfo) -> Iterator[NDArray[np.uint8]]:
    """(h, bytes of a row) blocks: samples interleaved, 16 bits big-endian as PNG requires."""
    row_bytes = info.width * info.channels * info.dtype.itemsize
    for block in interleaved(strips, info, max(1, _BLOCK_BYTES // row_bytes), byte_order=">"):
        yield block.view(np.uint8).reshape(len(block), row_bytes)


def _filtered(blocks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Blocks as PNG stores them: the filter's number, then each byte minus the one above."""
    above: NDArray[np.uint8] | None = None
    for block in blocks:
        filtered = np.empty((block.shape[0], 1 + block.shape[1]), np.uint8)
        filtered[:, 0] = _FILTER_UP
        # Above the first row PNG assumes zeros.
        filtered[0, 1:] = block[0] if above is None else block[0] - above
        np.subtract(block[1:], block[:-1], out=filtered[1:, 1:])
        yield filtered
        above = block[-1].copy()

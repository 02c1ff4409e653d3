"""Encodes strips of planes as PNG, with one strip in memory at a time.

A PNG is a header, one zlib stream of filtered rows, and an end mark. Writing it here rather than
with an imaging library keeps the caller's iterator in the caller's thread, keeps 16-bit samples as
they are, and allows another compressor: ISA-L (python-isal) deflates a photograph about three times
as fast as libvips with zlib-ng, for the same size. The file has pixels and no metadata, so equal
pixels give equal bytes.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from superres.imaging.colour import Planes
from superres.imaging.costs import out_of_memory
from superres.imaging.files import unwritable
from superres.imaging.info import ImageInfo
from superres.imaging.names import unfinished_name
from superres.imaging.outline import Outline

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
    strips: Iterable[Planes], info: ImageInfo, path: Path, *, compression: int = COMPRESSION
) -> None:
    """Writes strips to ``path``; the file appears there whole or not at all.

    Args:
        strips: (C, h, W) arrays of ``info.dtype`` from top to bottom; heights may differ and add up
            to ``info.height``.
        info: size, channels and depth of the image.
        path: the file to write or replace, in an existing folder.
        compression: 0 (fastest) to 3.

    Raises:
        ValueError: the strips do not fit ``info``.
        StorageError: the file cannot be written; nothing of it stays.
        ImageRejectedError: there is not enough memory to make or encode the strips.
        Exception: any other exception of the iterator of strips, unchanged.
    """
    unfinished = path.with_name(unfinished_name())
    with _unwritable_named(path.parent):
        stream = unfinished.open("xb", buffering=0)

    def write(content: bytes) -> None:
        with _unwritable_named(path.parent):
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) :]

    try:
        with stream:
            _write(write, strips, info, compression)
        with _unwritable_named(path.parent):
            unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, MemoryError):
            outline = Outline(info.width, info.height, info.channels * info.dtype.itemsize)
            raise out_of_memory("making a result", outline) from None
        raise


@contextmanager
def _unwritable_named(folder: Path) -> Iterator[None]:
    """Only around what is written: an error of the caller's iterator is the caller's."""
    try:
        yield
    except OSError as error:
        raise unwritable(folder, error) from error


def encode_png_bytes(planes: Planes, *, compression: int = COMPRESSION) -> bytes:
    """Encodes a (C, H, W) uint8 or uint16 array of 1 to 4 channels as a PNG file."""
    channels, height, width = planes.shape
    info = ImageInfo(width, height, channels, 8 * planes.dtype.itemsize)
    stream = io.BytesIO()
    _write(stream.write, [planes], info, compression)
    return stream.getvalue()


def _write(write: _Write, strips: Iterable[Planes], info: ImageInfo, compression: int) -> None:
    deflate = isal_zlib.compressobj(compression)
    write(_SIGNATURE)
    colour_type = _COLOUR_TYPES[info.channels]
    size = struct.pack(">II", info.width, info.height)
    _write_chunk(write, b"IHDR", size + bytes((info.bit_depth, colour_type, 0, 0, 0)))
    for filtered in _filtered(_interleaved(strips, info)):
        if compressed := deflate.compress(filtered):
            _write_chunk(write, b"IDAT", compressed)
    _write_chunk(write, b"IDAT", deflate.flush())
    _write_chunk(write, b"IEND", b"")


def _write_chunk(write: _Write, name: bytes, content: bytes) -> None:
    length, checksum = len(content), zlib.crc32(content, zlib.crc32(name))
    write(b"".join((struct.pack(">I", length), name, content, struct.pack(">I", checksum))))


def _interleaved(strips: Iterable[Planes], info: ImageInfo) -> Iterator[NDArray[np.uint8]]:
    """(h, bytes of a row) blocks: samples interleaved, 16 bits big-endian as PNG requires.

    The height of a block does not depend on that of the strips, so that equal pixels give equal
    bytes. The array is reused for the next block.
    """
    row_bytes = info.width * info.channels * info.dtype.itemsize
    rows = min(info.height, max(1, _BLOCK_BYTES // row_bytes))
    block = np.empty((rows, info.width, info.channels), info.dtype.newbyteorder(">"))
    as_bytes = block.view(np.uint8).reshape(rows, row_bytes)
    done = 0
    for strip in strips:
        _check_strip(strip, info, done)
        top = 0
        while top < strip.shape[1]:
            filled = done % rows
            part = strip[:, top : top + rows - filled]
            taken = part.shape[1]
            for channel, plane in enumerate(part):
                block[filled : filled + taken, :, channel] = plane
            top, done = top + taken, done + taken
            if done % rows == 0:
                yield as_bytes
    if done != info.height:
        raise ValueError(f"the strips have {done} rows, the image has {info.height}")
    if done % rows:
        yield as_bytes[: done % rows]


def _check_strip(strip: Planes, info: ImageInfo, done: int) -> None:
    expected = (info.channels, info.width, info.dtype)
    if strip.ndim != 3 or (strip.shape[0], strip.shape[2], strip.dtype) != expected:
        raise ValueError(
            f"a strip at row {done} is {strip.dtype} {strip.shape}; expected {info.dtype}"
            f" ({info.channels}, h, {info.width})"
        )
    if done + strip.shape[1] > info.height:
        raise ValueError(
            f"the strips have more than the {info.height} rows of the image; one of"
            f" {strip.shape[1]} rows follows row {done}"
        )


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

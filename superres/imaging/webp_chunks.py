"""Goes through the chunks of a WebP and reads what they say of it; touches no pixel."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from superres.errors import ImageRejectedError
from superres.imaging.outline import MOST_PAGES, Outline

MOST_CHUNKS = 2 * MOST_PAGES
"""Of all kinds; a file has one for each frame and at most six others."""

_RIFF_BYTES = 12
_HEAD_BYTES = 10  # of a chunk: what says the size of an image
_ALPHA = 0b10000  # of the flags of VP8X
_ANIMATED = 0b10
_HELD_BYTES = 5  # libwebp decodes a whole image, of four bytes a pixel


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    head: bytes


def read_outline(stream: BinaryIO) -> Outline:
    """Size and costs of a WebP.

    Raises:
        ValueError: the header is damaged.
        ImageRejectedError: there are too many chunks or frames.
    """
    first, frames = None, 0
    for chunk in _chunks(stream):
        first = first or chunk
        frames += chunk.name == b"ANMF"
    if first is None:
        raise ValueError("no chunk")
    if frames > MOST_PAGES:
        raise ImageRejectedError(
            f"the WebP has {frames:,} frames, over the limit of {MOST_PAGES:,}"
        )
    width, height, has_alpha = _size_of(first)
    return Outline(
        width, height, 4 if has_alpha else 3, held_bytes=_HELD_BYTES, pages=max(1, frames)
    )


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    position = _RIFF_BYTES
    for _ in range(MOST_CHUNKS):
        stream.seek(position)
        head = stream.read(8 + _HEAD_BYTES)
        if len(head) < 8:
            return
        name, size = struct.unpack("<4sI", head[:8])
        yield _Chunk(name, head[8:])
        position += 8 + size + size % 2
    raise ImageRejectedError("the WebP has too many chunks; save it again without metadata")


def _size_of(chunk: _Chunk) -> tuple[int, int, bool]:
    """Width, height, and whether there is alpha."""
    head = chunk.head
    if len(head) < _HEAD_BYTES and chunk.name != b"VP8L":
        raise ValueError("a short header")
    if chunk.name == b"VP8X":
        width, height = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (4, 7))
        return width, height, bool(head[0] & (_ALPHA | _ANIMATED))
    if chunk.name == b"VP8 " and head[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", head[6:10])
        return width & 0x3FFF, height & 0x3FFF, False
    if chunk.name == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
        (bits,) = struct.unpack("<I", head[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    raise ValueError("its header contradicts itself")

"""Goes through the blocks of a GIF, and tells from them what it holds; unpacks no pixel.

Takes time in proportion to the file.
"""

import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from superres.errors import ImageRejectedError
from superres.imaging.outline import MOST_PAGES, Outline

MOST_BLOCKS = 3 * MOST_PAGES
"""Frames have one each and one of control; comments and the like are few."""
MOST_PIECES = 4_000_000
"""Blocks have pieces of 255 bytes at most: a full gigabyte."""

_SCREEN_BYTES = 13
_EXTENSION, _IMAGE = 0x21, 0x2C
_PIXELS_PER_BYTE = 2_731  # a code of 12 bits stands for 4,096 pixels at most
_HELD_BYTES = 1  # the number of a colour in the palette
_NEXT = re.compile(b"[!,;]")  # an extension, an image, the end
_READ_BYTES = 1 << 16


def read_outline(stream: BinaryIO) -> Outline:
    """Size and costs of a GIF by its first frame; the others are not looked for.

    Raises:
        ValueError: the header is damaged, or there is no frame.
        ImageRejectedError: there are too many blocks or pieces.
    """
    screen = _screen(stream)
    first = next(_images(stream), None)
    if first is None:
        raise ValueError("no frame")
    width, height = struct.unpack("<HH", screen[6:10])
    stored = stream.seek(0, os.SEEK_END) - first
    stream.seek(first + 1)
    left, top, across, down = struct.unpack("<4H", stream.read(8))
    outside = max(width, left + across) * max(height, top + down) - across * down
    return Outline(
        max(width, left + across),
        max(height, top + down),
        pixel_bytes=4,
        held_bytes=_HELD_BYTES,
        most_pixels=outside + _PIXELS_PER_BYTE * stored,
    )


def count_frames(stream: BinaryIO) -> int:
    """How many frames there are.

    Raises:
        ImageRejectedError: there are too many frames, blocks or pieces.
    """
    return sum(1 for _ in _images(stream))


def _screen(stream: BinaryIO) -> bytes:
    """The header with the palette."""
    stream.seek(0)
    head = stream.read(_SCREEN_BYTES)
    if len(head) < _SCREEN_BYTES:
        raise ValueError("a short header")
    return head + stream.read(_palette_bytes(head[10]))


def _palette_bytes(flags: int) -> int:
    return 3 * (2 << (flags & 0b111)) if flags & 0x80 else 0


def _images(stream: BinaryIO) -> Iterator[int]:
    """Where each image begins, to the end mark or damage."""
    position, images = len(_screen(stream)), 0
    pieces = iter(range(MOST_PIECES))
    for _ in range(MOST_BLOCKS):
        position = _next_block(stream, position)
        stream.seek(position)
        head = stream.read(10)
        if len(head) >= 2 and head[0] == _EXTENSION:
            data = position + 2
        elif len(head) == 10 and head[0] == _IMAGE and images < MOST_PAGES:
            yield position
            data = position + 10 + _palette_bytes(head[9]) + 1
            images += 1
        elif head[:1] == bytes([_IMAGE]) and images == MOST_PAGES:
            break
        else:
            return
        position = _behind_pieces(stream, data, pieces)
    raise ImageRejectedError(
        f"the GIF has more than {MOST_PAGES:,} frames, or {MOST_BLOCKS:,} blocks; use a part of it"
    )


def _next_block(stream: BinaryIO, position: int) -> int:
    """Where the next block begins; some programs leave zeros before it."""
    stream.seek(position)
    size = 1  # nearly always, it is right there
    while junk := stream.read(size):
        if found := _NEXT.search(junk):
            return position + found.start()
        position += len(junk)
        size = _READ_BYTES
    return position


def _behind_pieces(stream: BinaryIO, position: int, pieces: Iterator[int]) -> int:
    stream.seek(position)
    for _ in pieces:
        size = stream.read(1)
        if not size or size == b"\0":
            return stream.tell()
        stream.seek(size[0], os.SEEK_CUR)
    raise ImageRejectedError("the GIF is cut into too many pieces; save it again")

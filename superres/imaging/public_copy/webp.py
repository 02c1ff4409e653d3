"""A WebP without its metadata: chunks of pixels and frames, and rewritten EXIF and profile."""

import struct
from collections.abc import Iterator

from superres.imaging.public_copy import icc
from superres.imaging.public_copy.exif import MOST_BYTES, PREFIX, public_exif
from superres.imaging.public_copy.pieces import Content, Piece, bounded

_HEADER_BYTES, _CHUNK_HEADER, _FRAME_HEADER = 12, 8, 16
_OF_PIXELS = frozenset([b"VP8 ", b"VP8L", b"ALPH"])
_HAS_PROFILE, _HAS_EXIF, _HAS_XMP = 0x20, 0x08, 0x04  # of the flags in VP8X
_Chunk = tuple[bytes, int, int]


def public_pieces(data: Content) -> Iterator[Piece]:
    """The pieces of the copy.

    Raises:
        ValueError: the file ends within a chunk.
    """
    end = min(len(data), _CHUNK_HEADER + _number(data, 4))
    chunks = list(bounded(_chunks(data, _HEADER_BYTES, end)))
    found = {name: start for name, start, _ in reversed(chunks)}
    exif = public_exif(_content(data, found, b"EXIF", MOST_BYTES).removeprefix(PREFIX))
    profile = icc.public_profile(_content(data, found, b"ICCP", icc.MOST_BYTES))
    pieces = [piece for chunk in chunks for piece in _kept(data, chunk, exif, profile)]
    if exif:
        pieces.append(_chunk(b"EXIF", exif))
    yield b"RIFF" + struct.pack("<I", 4 + sum(map(_size, pieces))) + b"WEBP"
    yield from pieces


def _chunks(data: Content, offset: int, end: int) -> Iterator[_Chunk]:
    """Name, start and end of each chunk, header and padding included."""
    while offset + _CHUNK_HEADER <= end:
        size = _number(data, offset + 4)
        following = offset + _CHUNK_HEADER + size
        if following > end:
            raise ValueError("a chunk is cut off")
        following = min(following + size % 2, end)
        yield bytes(data[offset : offset + 4]), offset, following
        offset = following


def _kept(data: Content, chunk: _Chunk, exif: bytes, profile: bytes) -> Iterator[Piece]:
    name, start, end = chunk
    if name in _OF_PIXELS or name == b"ANIM":
        yield slice(start, end)
    elif name == b"VP8X":
        content = start + _CHUNK_HEADER
        flags = data[content] & ~(_HAS_PROFILE | _HAS_EXIF | _HAS_XMP)
        flags |= (_HAS_PROFILE if profile else 0) | (_HAS_EXIF if exif else 0)
        yield bytes(data[start:content]) + bytes([flags]) + bytes(data[content + 1 : end])
        if profile:
            yield _chunk(b"ICCP", profile)
    elif name == b"ANMF":
        yield from _frame(data, start + _CHUNK_HEADER, end)


def _frame(data: Content, start: int, end: int) -> Iterator[Piece]:
    """A frame, which is a chunk with chunks in it."""
    pixels = start + _FRAME_HEADER
    inside = bounded(_chunks(data, pixels, end))
    kept = [slice(inner, following) for name, inner, following in inside if name in _OF_PIXELS]
    size = struct.pack("<I", _FRAME_HEADER + sum(map(_size, kept)))
    yield b"ANMF" + size + bytes(data[start:pixels])
    yield from kept


def _content(data: Content, found: dict[bytes, int], name: bytes, most: int) -> bytes:
    """Of the first chunk of a name; empty if there is none, or a larger one than anybody writes."""
    if name not in found or (size := _number(data, found[name] + 4)) > most:
        return b""
    start = found[name] + _CHUNK_HEADER
    return bytes(data[start : start + size])


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _number(data: Content, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else int(piece.stop - piece.start)

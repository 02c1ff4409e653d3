"""A WebP without its metadata: chunks of pixels, colour and frames, and a rewritten EXIF."""

import struct
from collections.abc import Iterator

from superres.imaging.public_copy.exif import MOST_BYTES, PREFIX, public_exif
from superres.imaging.public_copy.pieces import Content, Piece, bounded

_HEADER_BYTES, _CHUNK_HEADER, _FRAME_HEADER = 12, 8, 16
_OF_PIXELS = frozenset([b"VP8 ", b"VP8L", b"ALPH"])
_HAS_EXIF, _HAS_XMP = 0x08, 0x04  # of the flags in VP8X
_Chunk = tuple[bytes, int, int]


def public_pieces(data: Content) -> Iterator[Piece]:
    """The pieces of the copy.

    Raises:
        ValueError: the file ends within a chunk.
    """
    end = min(len(data), _CHUNK_HEADER + struct.unpack("<I", data[4:8])[0])
    chunks = list(bounded(_chunks(data, _HEADER_BYTES, end)))
    exif = next((_exif(data, *chunk) for chunk in chunks if chunk[0] == b"EXIF"), b"")
    pieces = [piece for chunk in chunks for piece in _kept(data, *chunk, has_exif=bool(exif))]
    if exif:
        pieces.append(_chunk(b"EXIF", exif))
    yield b"RIFF" + struct.pack("<I", 4 + sum(map(_size, pieces))) + b"WEBP"
    yield from pieces


def _chunks(data: Content, offset: int, end: int) -> Iterator[_Chunk]:
    """Name, start and end of each chunk, header and padding included."""
    while offset + _CHUNK_HEADER <= end:
        name, size = struct.unpack("<4sI", data[offset : offset + _CHUNK_HEADER])
        following = offset + _CHUNK_HEADER + size
        if following > end:
            raise ValueError("a chunk is cut off")
        following = min(following + size % 2, end)
        yield name, offset, following
        offset = following


def _kept(data: Content, name: bytes, start: int, end: int, *, has_exif: bool) -> Iterator[Piece]:
    content = start + _CHUNK_HEADER
    if name in _OF_PIXELS or name in (b"ANIM", b"ICCP"):
        yield slice(start, end)
    elif name == b"VP8X":
        flags = data[content] & ~(_HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if has_exif else 0)
        yield bytes(data[start:content]) + bytes([flags]) + bytes(data[content + 1 : end])
    elif name == b"ANMF":
        # A frame is a chunk with chunks in it.
        pixels = content + _FRAME_HEADER
        inside = bounded(_chunks(data, pixels, end))
        kept = [slice(inner, after) for name_, inner, after in inside if name_ in _OF_PIXELS]
        size = _FRAME_HEADER + sum(map(_size, kept))
        yield name + struct.pack("<I", size) + bytes(data[content:pixels])
        yield from kept


def _exif(data: Content, _: bytes, start: int, end: int) -> bytes:
    content = data[start + _CHUNK_HEADER : min(end, start + MOST_BYTES)]
    return public_exif(bytes(content).removeprefix(PREFIX))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _size(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else int(piece.stop - piece.start)

"""A PNG without its metadata: chunks of pixels, colour and frames, rewritten EXIF and profile."""

import struct
import zlib
from collections.abc import Iterator

from superres.imaging.public_copy import icc
from superres.imaging.public_copy.exif import MOST_BYTES, public_exif
from superres.imaging.public_copy.pieces import Content, Piece, bounded

_SIGNATURE_BYTES = 8
_AROUND_CONTENT = 12  # bytes of a chunk: length, name, checksum
# PNG, third edition, 11: no text, no suggested palette (it has a name), no private chunk.
_NEEDED = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs tIME"
    b" acTL fcTL fdAT".split()
)


def public_pieces(data: Content) -> Iterator[Piece]:
    """The pieces of the copy; whatever follows the end chunk is left out.

    Raises:
        ValueError: the file ends within a chunk that its pixels need.
    """
    yield slice(0, _SIGNATURE_BYTES)
    for name, start, end in bounded(_chunks(data)):
        if name in _NEEDED:
            yield slice(start, end)
        elif name == b"eXIf" and (exif := _exif(data, start + 8, end - 4)):
            yield _chunk(name, exif)
        elif name == b"iCCP" and (profile := _profile(data[start + 8 : end - 4])):
            yield _chunk(name, b"icc\0\0" + zlib.compress(profile))


def _chunks(data: Content) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each whole chunk, to the last.

    What is cut off behind the pixels is left out, since decoders take such a file.
    """
    offset, name, has_pixels = _SIGNATURE_BYTES, b"", False
    while offset < len(data) and name != b"IEND":
        name = bytes(data[offset + 4 : offset + 8])
        size = int.from_bytes(data[offset : offset + 4], "big")
        end = offset + _AROUND_CONTENT + size
        if end > len(data):
            if has_pixels and name != b"IDAT":
                return
            raise ValueError("a chunk is cut off")
        has_pixels = has_pixels or name == b"IDAT"
        yield name, offset, end
        offset = end


def _exif(data: Content, start: int, end: int) -> bytes:
    return public_exif(bytes(data[start:end])) if end - start <= MOST_BYTES else b""


def _profile(content: bytes) -> bytes:
    """Of a chunk that has a name, a method, and the compressed profile."""
    compressed = content.partition(b"\0")[2][1:]
    unpacking = zlib.decompressobj()
    try:
        profile = unpacking.decompress(compressed, icc.MOST_BYTES)
    except zlib.error:
        return b""
    return icc.public_profile(profile) if unpacking.eof else b""


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum

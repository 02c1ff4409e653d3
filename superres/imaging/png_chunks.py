"""Goes through the chunks of a PNG and reads what they say of it; touches no pixel.

Takes time in proportion to the file. What compressed texts and profiles unpack to is measured
here, within a limit, since decoders unpack them all, though only the profile is of use.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from superres.errors import ImageRejectedError
from superres.imaging.outline import DEEP_COLOUR_PASSES, MOST_PAGES, NARROW_RANGE_PASSES, Outline

MOST_CHUNKS = 1_000_000
"""Of pixels, which some programs write in pieces of a few hundred bytes."""
MOST_OTHER_CHUNKS = 3 * MOST_PAGES
"""Not of pixels: metadata, and two for each frame."""
MOST_UNPACKED_BYTES = 64 << 20
"""What all compressed texts and profiles may unpack to; XMP of 10 MB is unheard of."""

_SIGNATURE_BYTES = 8
_OF_PIXELS = frozenset([b"IDAT", b"fdAT"])
_COMPRESSED = frozenset([b"zTXt", b"iTXt", b"iCCP"])
_READ_CHUNKS = frozenset(
    [b"IHDR", b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"acTL", b"fcTL"]
)
_LARGEST_READ = 64  # bytes of a chunk; of iCCP it only matters that it is there
_PIECE_BYTES = 1 << 18
_DEFLATE_RATIO = 1_032  # the most bytes that one byte of Deflate stands for
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PALETTE, _WITH_ALPHA = 3, (4, 6)
_ABOUT_COLOUR = frozenset([b"cICP", b"iCCP", b"gAMA", b"cHRM"])


class Chunk(NamedTuple):
    """A chunk: its name, and where its content is."""

    name: bytes
    start: int
    size: int

    def content(self, stream: BinaryIO, most: int | None = None) -> bytes:
        """What it holds, up to ``most`` bytes; less where the file ends."""
        stream.seek(self.start)
        return stream.read(self.size if most is None else min(self.size, most))


def chunks(stream: BinaryIO) -> Iterator[Chunk]:
    """Every chunk up to the end mark or the end of the file.

    Raises:
        ImageRejectedError: there are more than the limits of this module.
    """
    position, others = _SIGNATURE_BYTES, 0
    for _ in range(MOST_CHUNKS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            return
        size, name = struct.unpack(">I4s", head)
        others += name not in _OF_PIXELS
        if others > MOST_OTHER_CHUNKS:
            break
        yield Chunk(name, position + 8, size)
        if name == b"IEND":
            return
        position += size + 12
    raise ImageRejectedError("the PNG is cut into too many chunks; save it again without metadata")


def read_chunks(stream: BinaryIO) -> dict[bytes, bytes]:
    """The chunks before the pixels about size, colours and frames, each up to 64 bytes.

    Ends without an error where the file does.
    """
    found: dict[bytes, bytes] = {}
    for chunk in chunks(stream):
        if chunk.name == b"IDAT":
            break
        if chunk.name in _READ_CHUNKS:
            found.setdefault(chunk.name, chunk.content(stream, _LARGEST_READ))
    return found


def frames(found: Mapping[bytes, bytes]) -> int:
    """How many pictures the file holds: the still one and those of an animation."""
    if len(found.get(b"acTL", b"")) < 8:
        return 1
    (animated,) = struct.unpack(">I", found[b"acTL"][:4])
    # A frame's control chunk before the pixels makes the still picture the first frame.
    return max(1, int(animated) + (b"fcTL" not in found))


def bit_depth(found: Mapping[bytes, bytes]) -> int:
    """Bits of a sample."""
    return found[b"IHDR"][8]


def read_outline(stream: BinaryIO) -> Outline:
    """Size and costs of a PNG.

    Raises:
        ValueError: the header is damaged.
        ImageRejectedError: there are too many chunks, or they unpack to too much.
    """
    found: dict[bytes, bytes] = {}
    unpacked = stored = 0
    for chunk in chunks(stream):
        if chunk.name == b"IDAT":
            stored += chunk.size
        elif chunk.name in _READ_CHUNKS and stored == 0:  # those that count come before the pixels
            found.setdefault(chunk.name, chunk.content(stream, _LARGEST_READ))
        if chunk.name in _COMPRESSED:
            unpacked += _unpacked_bytes(chunk, stream, MOST_UNPACKED_BYTES - unpacked)
        if unpacked > MOST_UNPACKED_BYTES:
            raise ImageRejectedError(
                "the PNG's texts and colour profile unpack to more than"
                f" {MOST_UNPACKED_BYTES >> 20} MiB; save it without metadata"
            )
    return _outline(found, stored)


def _outline(found: Mapping[bytes, bytes], stored: int) -> Outline:
    header = found.get(b"IHDR", b"")
    if len(header) < 13:
        raise ValueError("no header")
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    if kind not in _SAMPLES or not (width and height):
        raise ValueError("its header contradicts itself")
    row_bytes = 1 + -(-width * bits * _SAMPLES[kind] // 8)
    channels = 3 if kind == _PALETTE else _SAMPLES[kind]
    channels += b"tRNS" in found and kind not in _WITH_ALPHA
    pixel_bytes = channels * (2 if bits == 16 else 1)
    return Outline(
        width,
        height,
        pixel_bytes,
        held_bytes=pixel_bytes if interlaced else 0,
        passes=_passes(found, bits),
        pages=frames(found),
        most_pixels=width * (stored * _DEFLATE_RATIO // row_bytes),
    )


def _passes(found: Mapping[bytes, bytes], bits: int) -> int:
    """Colours of 16 bits are converted in floating point; 8 bits also, if their range is narrow."""
    if bits == 16:
        return 1 if _ABOUT_COLOUR.isdisjoint(found) else DEEP_COLOUR_PASSES
    return 1 if b"cICP" not in found else NARROW_RANGE_PASSES


def _unpacked_bytes(chunk: Chunk, stream: BinaryIO, most: int) -> int:
    """What a compressed chunk unpacks to, or a number above ``most``; 0 for what is damaged."""
    packed = _packed(chunk.name, chunk.content(stream))
    inflate = zlib.decompressobj()
    total = 0
    try:
        while packed and total <= most:
            total += len(inflate.decompress(packed, _PIECE_BYTES))
            packed = inflate.unconsumed_tail
    except zlib.error:
        pass  # decoders leave out what is damaged
    return total


def _packed(name: bytes, content: bytes) -> bytes:
    """The compressed part of a text or profile; empty for a text that is not compressed."""
    _, _, rest = content.partition(b"\0")
    if name != b"iTXt":
        return rest[1:]
    if rest[:1] != b"\1":
        return b""
    _, _, rest = rest[2:].partition(b"\0")  # the language
    _, _, text = rest.partition(b"\0")  # the keyword in it
    return text

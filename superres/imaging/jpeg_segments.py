"""The segments of a JPEG: reads what they say, and writes new ones; touches no pixel.

Reading takes time in proportion to the file, and gives up where there are more segments than any
camera or program writes: what reads them later may take time by their square.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from superres.errors import ImageRejectedError
from superres.imaging.outline import Outline

MOST_SEGMENTS = 4_096
"""256 MB of metadata, if each is full: 40 MB of XMP take 640."""
MOST_SCANS = 100
"""As in libvips; each takes a decoder through the whole image, and programs write 20 at most."""

EXIF, XMP, ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
PHOTOSHOP = b"Photoshop 3.0\0"
"""How the content of a segment of metadata begins."""

_MOST_CONTENT = 65_533  # bytes of a segment, without its length
START_OF_SCAN = 0xDA
START_OF_FRAME = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_END, _QUANTISATION = 0xD9, 0xDB
_PROGRESSIVE = frozenset([0xC2, 0xC6, 0xCA, 0xCE])
# Behind 0xFF: 0 is a data byte, 0xFF fills, and these stand alone: TEM and the restarts of a scan.
_MARK = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_READ_BYTES = 1 << 16
_COEFFICIENT_BYTES = 2


class Segment(NamedTuple):
    """A segment: its mark without 0xFF, and where its content is."""

    mark: int
    start: int
    size: int

    def content(self, stream: BinaryIO) -> bytes:
        """What it holds; less where the file ends."""
        stream.seek(self.start)
        return stream.read(self.size)


@dataclass(frozen=True)
class _Frame:
    """What a frame's segment says: size, and (name, horizontal, vertical, table) by component."""

    mark: int
    width: int
    height: int
    components: tuple[tuple[int, int, int, int], ...]

    @property
    def samples(self) -> float:
        """Samples a pixel: three with full colour, 1.5 with that of 2 × 2 pixels."""
        areas = [across * down for _, across, down, _ in self.components]
        widest = max(across for _, across, _, _ in self.components)
        tallest = max(down for _, _, down, _ in self.components)
        return sum(areas) / (widest * tallest)


def segments(stream: BinaryIO) -> Iterator[Segment]:
    """Every segment up to the end mark or the end of the file; junk between them is skipped.

    Raises:
        ImageRejectedError: there are more than ``MOST_SEGMENTS``.
    """
    position = 2  # behind the start of the image
    for _ in range(MOST_SEGMENTS + 1):
        position = _behind_mark(stream, position)
        stream.seek(position - 1)
        head = stream.read(3)
        if len(head) < 3 or head[0] == _END:
            return
        mark, size = struct.unpack(">BH", head)
        yield Segment(mark, position + 2, max(0, size - 2))
        position += max(2, size)
    raise ImageRejectedError(
        f"the JPEG has more than {MOST_SEGMENTS:,} segments; save it again without metadata"
    )


def read_outline(stream: BinaryIO) -> Outline:
    """Size and costs of a JPEG.

    Raises:
        ValueError: the header is damaged.
        ImageRejectedError: it has too many segments or scans.
    """
    frame, scans = None, 0
    for segment in segments(stream):
        if segment.mark in START_OF_FRAME and frame is None:
            frame = _frame(segment.mark, segment.content(stream))
        elif segment.mark == START_OF_SCAN:
            if frame is None:
                break
            scans += 1
            if scans == 1 and not _in_scans(frame, segment.content(stream)):
                break
    if frame is None or scans == 0:
        raise ValueError("no frame, or no scan")
    if scans > MOST_SCANS:
        raise ImageRejectedError(
            f"the JPEG has {scans:,} scans, over the limit of {MOST_SCANS}; save it again"
        )
    return Outline(
        frame.width,
        frame.height,
        pixel_bytes=3 if len(frame.components) >= 3 else 1,
        held_bytes=_COEFFICIENT_BYTES * frame.samples if scans > 1 else 0,
        passes=scans,
    )


def luma_table(stream: BinaryIO) -> list[int]:
    """The 64 steps of the table that the first component is quantised with, as in the file.

    Raises:
        ValueError: the header is damaged.
        KeyError: the table is missing.
        ImageRejectedError: there are too many segments.
    """
    tables: dict[int, list[int]] = {}
    frame = None
    for segment in segments(stream):
        if segment.mark == START_OF_SCAN:
            break
        if segment.mark == _QUANTISATION:
            tables.update(_tables(segment.content(stream)))
        elif segment.mark in START_OF_FRAME:
            frame = _frame(segment.mark, segment.content(stream))
    if frame is None:
        raise ValueError("no frame")
    return tables[frame.components[0][3]]


def segment_bytes(mark: int, content: bytes) -> bytes:
    """A segment, of at most 65,533 bytes of content."""
    return struct.pack(">BBH", 0xFF, mark, 2 + len(content)) + content


def profile_segments(profile: bytes) -> Iterator[bytes]:
    """The segments that hold an ICC profile of any length (ICC.1, annex B.4)."""
    room = _MOST_CONTENT - len(ICC) - 2
    starts = range(0, len(profile), room)
    for number, start in enumerate(starts, 1):
        head = ICC + bytes((number, len(starts)))
        yield segment_bytes(0xE2, head + profile[start : start + room])


def _behind_mark(stream: BinaryIO, position: int) -> int:
    """The offset behind the next mark; behind the end of the file if there is none."""
    stream.seek(position)
    kept, size = b"", 2  # nearly always, the mark is right there
    while piece := stream.read(size):
        searched = kept + piece
        if found := _MARK.search(searched):
            return position - len(kept) + found.end()
        position += len(piece)
        kept, size = piece[-1:], _READ_BYTES
    return position + 1


def _frame(mark: int, content: bytes) -> _Frame:
    if len(content) < 6 or len(content) < 6 + 3 * content[5] or content[5] == 0:
        raise ValueError("a short frame header")
    _, height, width, count = struct.unpack(">BHHB", content[:6])
    parts = (content[at : at + 3] for at in range(6, 6 + 3 * count, 3))
    components = tuple((part[0], part[1] >> 4, part[1] & 15, part[2]) for part in parts)
    if not (width and height and all(part[1] and part[2] for part in components)):
        raise ValueError("a frame without pixels")
    return _Frame(mark, width, height, components)


def _in_scans(frame: _Frame, scan: bytes) -> bool:
    """Whether more scans than the first belong to the picture."""
    return frame.mark in _PROGRESSIVE or scan[:1] < bytes([len(frame.components)])


def _tables(content: bytes) -> Iterator[tuple[int, list[int]]]:
    while len(content) > 1:
        wide, number = content[0] >> 4, content[0] & 15
        size = 128 if wide else 64
        if len(content) < 1 + size:
            raise ValueError("a short table")
        yield number, list(struct.unpack(">64H" if wide else "64B", content[1 : 1 + size]))
        content = content[1 + size :]

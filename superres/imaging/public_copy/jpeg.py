"""A JPEG without its metadata: its segments that decoders need, rewritten EXIF and profile."""

import re
from collections.abc import Iterator
from itertools import takewhile

from superres.imaging.jpeg_segments import ICC, profile_segments, segment_bytes
from superres.imaging.public_copy.exif import PREFIX, public_exif
from superres.imaging.public_copy.icc import public_profile
from superres.imaging.public_copy.pieces import Content, Piece, big_endian, bounded

_DATA, _END, _SCAN = 0x00, 0xD9, 0xDA  # the first is no mark: what follows a scan's header
_JFIF, _EXIF, _ICC, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE
# Frames, tables of Huffman and arithmetic coding, the end, scans, tables of quantisation, restarts
# (T.81, B.1). A number of lines behind the first scan, and hierarchies, no decoder of ours reads.
_NEEDED = frozenset([_DATA, *range(0xC0, 0xC8), *range(0xC9, 0xD0), *range(0xD9, 0xDC), 0xDD])
_WITHOUT_LENGTH = frozenset([0x01, *range(0xD0, 0xD9)])
# In the data of a scan, 0xFF is followed by 0 (a data byte) or by the number of a restart.
_MARK = re.compile(rb"\xff(?=[^\x00\xd0-\xd7\xff])")
_PROFILE_HEAD = len(ICC) + 2  # and the number of the part, and how many there are
_JFIF_BYTES, _ADOBE_BYTES = 12, 12  # of their content, without a thumbnail and additions


def public_pieces(data: Content) -> Iterator[Piece]:
    """The pieces of the copy; whatever follows the end mark is left out.

    Raises:
        ValueError: a segment is damaged.
    """
    yield slice(0, 2)
    profile = public_profile(_profile(data))
    for mark, start, end in bounded(_segments(data)):
        if mark in _NEEDED:
            yield slice(start, end)
        elif mark == _ICC and _is_of_profile(data, start):
            yield from profile_segments(profile)
            profile = b""
        elif mark in (_JFIF, _EXIF, _ADOBE):
            yield from _of_application(data, mark, start, end)


def _segments(data: Content) -> Iterator[tuple[int, int, int]]:
    """Mark, start and end of each segment and of each scan's data; to the end mark or the end."""
    offset = 2
    while found := _MARK.search(data, offset):
        start = found.start()
        mark = data[start + 1]
        if mark == _END:
            yield mark, start, start + 2
            return
        if mark in _WITHOUT_LENGTH:
            offset = start + 2
            continue
        offset = start + 2 + big_endian(data, start + 2, 2)
        if offset > len(data) or offset < start + 4:
            raise ValueError("a segment is damaged")
        yield mark, start, offset
        if mark == _SCAN:
            following = _MARK.search(data, offset)
            end = following.start() if following else len(data)
            yield _DATA, offset, end
            offset = end


def _of_application(data: Content, mark: int, start: int, end: int) -> Iterator[Piece]:
    content = start + 4
    if mark == _JFIF and data[content : content + 5] == b"JFIF\0":
        yield segment_bytes(
            mark, data[content : content + _JFIF_BYTES].ljust(_JFIF_BYTES, b"\0") + b"\0\0"
        )
    elif mark == _EXIF and data[content : content + len(PREFIX)] == PREFIX:
        if exif := public_exif(bytes(data[content + len(PREFIX) : end])):
            yield segment_bytes(mark, PREFIX + exif)
    elif mark == _ADOBE and data[content : content + 5] == b"Adobe":
        yield segment_bytes(mark, data[content : min(content + _ADOBE_BYTES, end)])


def _is_of_profile(data: Content, start: int) -> bool:
    return data[start + 4 : start + 4 + len(ICC)] == ICC


def _profile(data: Content) -> bytes:
    """The ICC profile, whose parts stand before the first scan; empty if there is none."""
    header = takewhile(lambda segment: segment[0] != _SCAN, bounded(_segments(data)))
    parts = [
        (data[start + 4 + len(ICC)], data[start + 4 + _PROFILE_HEAD : end])
        for mark, start, end in header
        if mark == _ICC and _is_of_profile(data, start) and end - start > 4 + _PROFILE_HEAD
    ]
    return b"".join(part for _, part in sorted(parts, key=lambda numbered: numbered[0]))

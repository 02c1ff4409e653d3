"""The end mark of a JPEG, which some cameras and servers lose though every pixel is there."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

END_MARK = b"\xff\xd9"
_START_OF_IMAGE_BYTES = 2
_FILL, _START_OF_SCAN = 0xFF, 0xDA
_START_OF_FRAME = frozenset([*range(0xC0, 0xC4), *range(0xC5, 0xC8)])
# In the data of a scan, 0xFF is followed by 0 (a data byte) or by the number of a restart.
_MARK_AFTER_SCAN = re.compile(rb"\xff(?=[^\x00\xd0-\xd7\xff])")
_COEFFICIENTS = 64  # of a block


def has_end_mark(stream: BinaryIO) -> bool:
    """Whether the end mark stands behind the first scan, whatever follows it."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(END_MARK)))
    if stream.read() == END_MARK:
        return True
    stream.seek(0)
    data = stream.read()
    scans = (start for mark, start, _ in _segments(data) if mark == _START_OF_SCAN)
    return END_MARK in data[next(scans, len(data)) :]


def has_every_scan(stream: BinaryIO) -> bool:
    """Whether the scans give every coefficient of every component in full precision.

    A progressive JPEG may be cut between two scans; then no decoder notices what is missing.
    """
    stream.seek(0)
    missing: set[tuple[int, int]] = set()
    for mark, _, content in _segments(stream.read()):
        if mark in _START_OF_FRAME:
            missing = {(name, k) for name in content[6::3] for k in range(_COEFFICIENTS)}
        elif mark == _START_OF_SCAN and content and len(content) == 4 + 2 * content[0]:
            first, last, precision = content[-3:]
            if precision & 0x0F == 0:  # no low bits are left for a later scan
                names = content[1:-3:2]
                missing -= {(name, k) for name in names for k in range(first, last + 1)}
    return not missing


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Mark, offset behind the segment, and content of each segment, to the end mark or damage."""
    offset = _START_OF_IMAGE_BYTES
    while offset + 4 <= len(data) and data[offset] == 0xFF:
        mark, size = data[offset + 1], int.from_bytes(data[offset + 2 : offset + 4], "big")
        if mark == _FILL:
            offset += 1
            continue
        if mark == END_MARK[1]:
            return
        following = offset + 2 + size
        yield mark, following, data[offset + 4 : following]
        if mark == _START_OF_SCAN:
            found = _MARK_AFTER_SCAN.search(data, following)
            following = found.start() if found else len(data)
        offset = following

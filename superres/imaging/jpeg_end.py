"""The end mark of a JPEG, which some cameras and servers lose though every pixel is there."""

import os
from typing import BinaryIO

from superres.imaging.jpeg_segments import START_OF_FRAME, START_OF_SCAN, segments

END_MARK = b"\xff\xd9"
_COEFFICIENTS = 64  # of a block


def has_end_mark(stream: BinaryIO) -> bool:
    """Whether the end mark stands behind the first scan, whatever follows it."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(END_MARK)))
    if stream.read() == END_MARK:
        return True
    scans = (each.start + each.size for each in segments(stream) if each.mark == START_OF_SCAN)
    stream.seek(next(scans, size))
    return END_MARK in stream.read()


def has_every_scan(stream: BinaryIO) -> bool:
    """Whether the scans give every coefficient of every component in full precision.

    A progressive JPEG may be cut between two scans; then no decoder notices what is missing.
    """
    missing: set[tuple[int, int]] = set()
    for segment in segments(stream):
        if segment.mark in START_OF_FRAME:
            names = segment.content(stream)[6::3]
            missing = {(name, k) for name in names for k in range(_COEFFICIENTS)}
        elif segment.mark == START_OF_SCAN:
            content = segment.content(stream)
            if not content or len(content) != 4 + 2 * content[0]:
                continue
            first, last, precision = content[-3:]
            if precision & 0x0F == 0:  # no low bits are left for a later scan
                names = content[1:-3:2]
                missing -= {(name, k) for name in names for k in range(first, last + 1)}
    return not missing

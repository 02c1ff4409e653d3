"""What a copy is made of: ranges of the original file, and bytes in between."""

from collections.abc import Iterable, Iterator
from itertools import islice
from mmap import mmap
from typing import TypeVar

_MOST_PARTS = 1_000_000  # segments or chunks of a file; reading them takes a second
Part = TypeVar("Part")

Content = bytes | mmap
Piece = bytes | slice
"""Bytes to write, or a range of the original to copy."""


def bounded(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts of a file; raises ``ValueError`` where there are more than any encoder writes."""
    parts = iter(parts)
    yield from islice(parts, _MOST_PARTS)
    if next(parts, None) is not None:
        raise ValueError(f"it has more than {_MOST_PARTS:,} parts")


def big_endian(data: Content, start: int, size: int) -> int:
    """An unsigned number; raises ``ValueError`` where the file ends before."""
    field = data[start : start + size]
    if len(field) < size:
        raise ValueError("it ends too early")
    return int.from_bytes(field, "big")

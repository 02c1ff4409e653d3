"""IPTC's Information Interchange Model: datasets in a row."""

import struct
from collections.abc import Iterator

_MARK = 0x1C
_APPLICATION = 2
# Numbers of its datasets that say where: content location code and name, city, sublocation,
# province, country code and name.
_LOCATIONS = frozenset([26, 27, 90, 92, 95, 100, 101])
_RESOURCE = 0x0404  # of Photoshop: IPTC


def without_location(iptc: bytes) -> bytes:
    """The datasets but those of places.

    Raises:
        ValueError: they are damaged.
    """
    return b"".join(
        whole
        for record, number, whole in _datasets(iptc)
        if record != _APPLICATION or number not in _LOCATIONS
    )


def in_photoshop(resources: bytes) -> bytes | None:
    """IPTC among Photoshop's image resources; None if there is none."""
    position = 0
    while len(resources) - position >= 12 and resources[position : position + 4] == b"8BIM":
        (kind,) = struct.unpack_from(">H", resources, position + 4)
        name_bytes = 1 + resources[position + 6]
        position += 6 + name_bytes + name_bytes % 2
        if len(resources) - position < 4:
            return None
        (size,) = struct.unpack_from(">I", resources, position)
        position += 4
        if kind == _RESOURCE:
            return resources[position : position + size] or None
        position += size + size % 2
    return None


def _datasets(iptc: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Record, number and all bytes of each."""
    position = 0
    while position < len(iptc) and iptc[position] == _MARK:
        if len(iptc) - position < 5:
            raise ValueError("a dataset is cut off")
        record, number, size = struct.unpack_from(">BBH", iptc, position + 1)
        start = position + 5
        if size & 0x8000:  # the length of the length
            extended = size & 0x7FFF
            size = int.from_bytes(iptc[start : start + extended], "big")
            start += extended
        if start + size > len(iptc):
            raise ValueError("a dataset is cut off")
        yield record, number, iptc[position : start + size]
        position = start + size

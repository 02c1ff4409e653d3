"""The part of an ICC profile that everybody may see: what colours look like.

The profile of a display names it, often after its owner ("Ada's iMac"), and has its serial number.
"""

import struct

MOST_BYTES = 16 << 20
"""Of a profile that is read; a JPEG can hold 16 MB."""
_HEADER_BYTES, _ENTRY_BYTES = 128, 12
_MOST_TAGS = 100
_COLOURS = frozenset(
    b"rXYZ gXYZ bXYZ rTRC gTRC bTRC kTRC wtpt bkpt chad cicp lumi gamt A2B0 A2B1 A2B2 B2A0 B2A1"
    b" B2A2 D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3".split()
)
_NAME = "Colour profile"
_Tags = dict[bytes, bytes]


def public_profile(profile: bytes) -> bytes:
    """A profile of the same colours, without names, serial numbers and tags of makers.

    Empty if the profile is damaged; who shows the picture ignores it then anyway.
    """
    if len(profile) > MOST_BYTES or profile[36:40] != b"acsp":
        return b""
    try:
        tags = _colours(profile)
    except (struct.error, ValueError):
        return b""
    texts = _texts_of_version_4() if profile[8] >= 4 else _texts_of_version_2()
    return _assembled(profile[:_HEADER_BYTES], texts | tags)


def _colours(profile: bytes) -> _Tags:
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    if count > _MOST_TAGS:
        raise ValueError("too many tags")
    found: _Tags = {}
    for number in range(count):
        at = _HEADER_BYTES + 4 + _ENTRY_BYTES * number
        name, start, size = struct.unpack_from(">4sII", profile, at)
        if start + size > len(profile):
            raise ValueError("a tag is cut off")
        if name in _COLOURS:
            found[name] = profile[start : start + size]
    if sum(map(len, set(found.values()))) > len(profile):
        raise ValueError("tags overlap")
    return found


def _assembled(header: bytes, tags: _Tags) -> bytes:
    """The profile; equal tags, as three curves often are, share their bytes."""
    offset = _HEADER_BYTES + 4 + _ENTRY_BYTES * len(tags)
    table, content, known = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for name, data in tags.items():
        if data not in known:
            known[data] = offset + len(content)
            content += data + b"\0" * (-len(data) % 4)
        table += struct.pack(">4sII", name, known[data], len(data))
    size = struct.pack(">I", _HEADER_BYTES + len(table) + len(content))
    digest = bytes(16)  # allowed to be absent
    return size + header[4:84] + digest + header[100:] + table + content


def _texts_of_version_2() -> _Tags:
    text = _NAME.encode("ascii") + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(8 + 3 + 67)
    return {b"desc": described, b"cprt": b"text" + bytes(4) + b"-\0"}


def _texts_of_version_4() -> _Tags:
    def text(content: str) -> bytes:
        encoded = content.encode("utf-16-be")
        record = struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28)
        return b"mluc" + bytes(4) + record + encoded

    return {b"desc": text(_NAME), b"cprt": text("-")}

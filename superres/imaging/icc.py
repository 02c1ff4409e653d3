"""ICC profiles made from primaries and a tone curve, for images that give these numbers instead."""

import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

_D50 = np.array([0.9642, 1.0, 0.8249])  # white of ICC's connection space
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_HEADER_BYTES = 128
_VERSION = 0x04300000
# Of a tag of processing elements: curves before and after a matrix, say.
_MOST_ELEMENTS, _MOST_ELEMENT_BYTES = 8, 16_384


@dataclass(frozen=True)
class Curve:
    """Light of a sample v on [0, 1]: (a v + b) ** gamma from ``start`` on, slope v below."""

    gamma: float
    a: float = 1.0
    b: float = 0.0
    slope: float = 0.0
    start: float = 0.0


SRGB_CURVE = Curve(gamma=2.4, a=1 / 1.055, b=0.055 / 1.055, slope=1 / 12.92, start=0.04045)


@dataclass(frozen=True)
class Chromaticities:
    """CIE (x, y) of the three primaries and of white."""

    red: tuple[float, float]
    green: tuple[float, float]
    blue: tuple[float, float]
    white: tuple[float, float]


SRGB = Chromaticities((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))


@cache
def srgb_profile(*, grey: bool) -> bytes:
    """A profile of sRGB, or of its grey."""
    if grey:
        return grey_profile(SRGB_CURVE, "Grey of sRGB")
    return rgb_profile(SRGB, SRGB_CURVE, "sRGB")


def grey_profile(curve: Curve, name: str = "Grey") -> bytes:
    """A profile of grey samples with this curve; programs show its name."""
    return _profile(name, b"GRAY", {b"wtpt": _xyz(_D50), b"kTRC": _parametric(curve)})


def rgb_profile(chromaticities: Chromaticities, curve: Curve, name: str = "RGB") -> bytes:
    """A profile of RGB samples with these primaries and this curve for all three.

    Programs show its name.

    Raises:
        ValueError: the chromaticities span no colours.
    """
    red, green, blue = _colorants(chromaticities).T
    tones = _parametric(curve)
    tags = {b"wtpt": _xyz(_D50), b"rXYZ": _xyz(red), b"gXYZ": _xyz(green), b"bXYZ": _xyz(blue)}
    return _profile(name, b"RGB ", {**tags, b"rTRC": tones, b"gTRC": tones, b"bTRC": tones})


def _colorants(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """XYZ of the full primaries in columns, adapted from the image's white to D50."""
    c = chromaticities
    if not all(x >= 0 and y > 0 and x + y <= 1 for x, y in (c.red, c.green, c.blue, c.white)):
        raise ValueError("chromaticities outside the colours of light")
    primaries = np.array([_xyz_of(*xy) for xy in (c.red, c.green, c.blue)]).T
    if abs(np.linalg.det(primaries)) < 1e-3:
        raise ValueError("primaries on a line")
    white = _xyz_of(*c.white)
    to_xyz = primaries * np.linalg.solve(primaries, white)
    cones = np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white))
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD @ to_xyz
    return adapted


def _xyz_of(x: float, y: float) -> NDArray[np.float64]:
    """XYZ of a chromaticity at Y = 1."""
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _parametric(curve: Curve) -> bytes:
    function_type = 3
    parameters = _fixed(curve.gamma, curve.a, curve.b, curve.slope, curve.start)
    return b"para" + bytes(4) + struct.pack(">HH", function_type, 0) + parameters


def _fixed(*values: float) -> bytes:
    """ICC's s15Fixed16Number."""
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def _text(text: str) -> bytes:
    """ICC's text, in one language."""
    content = text.encode("utf-16-be")
    head = struct.pack(">4s4xII4sII", b"mluc", 1, 12, b"enUS", len(content), 28)
    return head + content + bytes(-len(content) % 4)


def _profile(name: str, colour_space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A monitor's profile of these tags, whose sizes are multiples of four bytes."""
    texts = {b"desc": _text(name), b"cprt": _text("No copyright, use freely")}
    tags = {**texts, **tags}
    table, body = struct.pack(">I", len(tags)), b""
    start = _HEADER_BYTES + len(table) + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content
    size = _HEADER_BYTES + len(table) + len(body)
    header = struct.pack(">I4xI4s4s4s", size, _VERSION, b"mntr", colour_space, b"XYZ ")
    header += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp")
    header = header.ljust(68, b"\0") + _fixed(*_D50)
    return header.ljust(_HEADER_BYTES, b"\0") + table + body


def is_costly(profile: bytes) -> bool:
    """Whether a profile has more processing elements than any that is made for photographs.

    Little CMS applies each to a table of tens of thousands of colours, and elements may share their
    bytes: a profile of 20 kB can take a minute.
    """
    count = int.from_bytes(profile[_HEADER_BYTES : _HEADER_BYTES + 4], "big")
    for at in range(_HEADER_BYTES + 4, len(profile) - 11, 12)[:count]:
        start, size = struct.unpack(">II", profile[at + 4 : at + 12])
        if profile[start : start + 4] != b"mpet":
            continue
        elements = int.from_bytes(profile[start + 12 : start + 16], "big")
        if elements > _MOST_ELEMENTS or size > _MOST_ELEMENT_BYTES:
            return True
    return False

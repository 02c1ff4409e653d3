"""Where the pixels of a GeoTIFF lie on Earth, for an image of another size.

A raster of points (GTRasterType 2) counts from the centre of the first pixel, one of areas from its
corner; both stay where they are when pixels become smaller.
"""

import struct
from collections.abc import Mapping, Sequence

from superres.imaging.metadata.directories import DOUBLE, Value, value

_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION = 33550, 33922, 34264
_KEYS, _KEY_NUMBERS, _KEY_TEXTS = 34735, 34736, 34737
_GDAL_METADATA, _GDAL_NODATA = 42112, 42113
_RATIONAL_POLYNOMIALS = 50844
_RASTER_TYPE_KEY, _IS_POINT = 1025, 2

_PLACE = frozenset([_PIXEL_SCALE, _TIE_POINTS, _TRANSFORMATION])
TAGS = frozenset([*_PLACE, _KEYS, _KEY_NUMBERS, _KEY_TEXTS, _GDAL_METADATA, _GDAL_NODATA])
"""Of GeoTIFF, and GDAL's own, which says what value means no data."""
NOT_KEPT = frozenset([_RATIONAL_POLYNOMIALS])
"""Georeferences that are left out: satellites' rational polynomials."""


def is_georeferenced(geo: Mapping[int, Value]) -> bool:
    """Whether the tags say where the image lies."""
    return not geo.keys().isdisjoint(_PLACE | NOT_KEPT)


def without_location(geo: Mapping[int, Value]) -> dict[int, Value]:
    """What value means no data, and nothing of the place."""
    return {tag: geo[tag] for tag in geo.keys() & {_GDAL_NODATA}}


def enlarged(geo: Mapping[int, Value], factors: tuple[float, float]) -> dict[int, Value]:
    """The tags of an image that is ``factors`` times as wide and high.

    Raises:
        ValueError: they are damaged.
    """
    try:
        return _enlarged(geo, factors)
    except (struct.error, IndexError) as error:
        raise ValueError(f"the georeference is damaged ({error})") from None


def _enlarged(geo: Mapping[int, Value], factors: tuple[float, float]) -> dict[int, Value]:
    result = {tag: each for tag, each in geo.items() if tag in TAGS}
    x, y = factors
    shift = 0.5 if _is_of_points(geo) else 0.0
    if scale := _numbers(geo, _PIXEL_SCALE, 3):
        result[_PIXEL_SCALE] = value(DOUBLE, [scale[0] / x, scale[1] / y, *scale[2:]])
    if points := _numbers(geo, _TIE_POINTS, 6):
        result[_TIE_POINTS] = value(DOUBLE, _moved(points, factors, shift))
    if matrix := _numbers(geo, _TRANSFORMATION, 16):
        result[_TRANSFORMATION] = value(DOUBLE, _refined(matrix, factors, shift))
    return result


def _is_of_points(geo: Mapping[int, Value]) -> bool:
    keys = geo[_KEYS].numbers if _KEYS in geo else ()
    entries = (keys[at : at + 4] for at in range(4, len(keys) - 3, 4))
    return any(entry[0] == _RASTER_TYPE_KEY and entry[3] == _IS_POINT for entry in entries)


def _numbers(geo: Mapping[int, Value], tag: int, multiple: int) -> Sequence[float] | None:
    if tag not in geo:
        return None
    numbers = geo[tag].numbers
    if not numbers or len(numbers) % multiple or geo[tag].kind != DOUBLE:
        raise ValueError(f"the georeference is damaged ({len(numbers)} numbers in tag {tag})")
    return numbers


def _moved(points: Sequence[float], factors: tuple[float, float], shift: float) -> list[float]:
    """Tie points (i, j, k, x, y, z): the same places at their pixels of the larger image."""
    moved = list(points)
    for start in range(0, len(points), 6):
        for axis, factor in enumerate(factors):
            moved[start + axis] = (points[start + axis] + shift) * factor - shift
    return moved


def _refined(matrix: Sequence[float], factors: tuple[float, float], shift: float) -> list[float]:
    """The 4 x 4 matrix from pixels of the larger image to places."""
    x, y = factors
    refined = list(matrix)
    for row in range(0, 16, 4):
        a, b = matrix[row], matrix[row + 1]
        if row == 12:
            break
        refined[row], refined[row + 1] = a / x, b / y
        refined[row + 3] += a * (shift / x - shift) + b * (shift / y - shift)
    return refined

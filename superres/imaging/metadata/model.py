"""What files say beside their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Policy = Literal["keep", "no-location", "strip"]
"""What becomes of a source's metadata: all of it stays, or all but the place, or nothing."""

TiffValue = tuple[int, tuple[int | float, ...] | str | bytes]
"""The type of a tag of TIFF, as its number, and its values."""


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels; the defaults say nothing.

    Attributes:
        exif: from its TIFF header on, without ``Exif`` before it.
        xmp: a packet.
        iptc: datasets of IPTC's Information Interchange Model.
        density: horizontal and vertical, in pixels per inch.
        geo: the tags of GeoTIFF and GDAL, of which ``georeference.TAGS`` are known.
        is_big: the file is a BigTIFF.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[float, float] | None = None
    geo: Mapping[int, TiffValue] | None = None
    is_big: bool = False


NOTHING = Metadata()

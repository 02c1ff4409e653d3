"""What files say beside their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from superres.imaging.metadata.directories import Value  # needs numpy; a recipe does not

Policy = Literal["keep", "no-location", "strip"]
"""What becomes of a source's metadata: all of it stays, or all but the place, or nothing."""


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels; the defaults say nothing.

    Attributes:
        exif: from its TIFF header on, without ``Exif`` before it.
        xmp: a packet.
        iptc: datasets of IPTC's Information Interchange Model.
        density: horizontal and vertical, in pixels per inch.
        geo: the tags of GeoTIFF and GDAL.
        is_big: the file is a BigTIFF.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[float, float] | None = None
    geo: Mapping[int, "Value"] = field(default_factory=dict)
    is_big: bool = False


NOTHING = Metadata()

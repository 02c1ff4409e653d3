"""What a source says beside its pixels, and what of that its result says."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from superres.errors import ImageRejectedError
from superres.imaging.encoding.formats import FormatName
from superres.imaging.libvips import Origin, binary
from superres.imaging.metadata import exif as exif_module
from superres.imaging.metadata import georeference, iptc, xmp
from superres.imaging.metadata.containers import Found, find
from superres.imaging.metadata.directories import Value
from superres.imaging.metadata.exif import Exif, exif_of, read_exif
from superres.imaging.metadata.model import Metadata, Policy

_USUAL_DENSITIES = (1.0, 65_000.0)
_MOST_SEGMENT_BYTES = 65_490  # of JPEG, beside what says the kind of the segment


@dataclass(frozen=True)
class SourceMetadata:
    """What a source says beside its pixels.

    Attributes:
        exif: its EXIF; what a TIFF says of the picture counts as such.
        xmp: a packet, which may be damaged.
        iptc: datasets, which may be damaged.
        density: of the upright image, in pixels per inch.
        geo: the tags of GeoTIFF and GDAL.
        is_big: it is a BigTIFF.
        remarks: what is damaged and left out, a line each.
    """

    exif: Exif = field(default_factory=Exif)
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[float, float] | None = None
    geo: Mapping[int, Value] = field(default_factory=dict)
    is_big: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Making:
    """How a result was made, as far as its metadata depends on it.

    Attributes:
        source_size: width and height of the upright source.
        size: of the result.
        is_srgb: the samples of the result are sRGB.
        history: what the history of XMP says of it, in words.
        format: of the result.
    """

    source_size: tuple[int, int]
    size: tuple[int, int]
    is_srgb: bool
    history: Mapping[str, str]
    format: FormatName

    @property
    def factors(self) -> tuple[float, float]:
        """By which the source was enlarged, horizontally and vertically."""
        (width, height), (from_width, from_height) = self.size, self.source_size
        return width / from_width, height / from_height


def read_metadata(origin: Origin, format_name: str, index: int = 0) -> SourceMetadata:
    """Reads the metadata of an accepted image; what is damaged is left out with a remark.

    Args:
        origin: the encoded image.
        format_name: as ``sniff`` returns it.
        index: of the page or frame, from 0.
    """
    remarks = []
    with binary(origin) as stream:
        try:
            found = find(stream, format_name, index)
        except (ValueError, ImageRejectedError):
            return SourceMetadata(remarks=("its metadata is damaged and left out",))
        exif = Exif()
        try:
            if found.layout is not None:
                exif = exif_of(stream, found.layout, found.directory)
            elif found.exif:
                exif = read_exif(found.exif)
        except ValueError:
            remarks.append("its EXIF is damaged and left out")
    return SourceMetadata(
        exif,
        found.xmp,
        found.iptc,
        _density(found, exif),
        found.geo,
        is_big=found.layout is not None and found.layout.is_big,
        remarks=tuple(remarks),
    )


def _density(found: Found, exif: Exif) -> tuple[float, float] | None:
    density = found.density or exif.density
    lowest, highest = _USUAL_DENSITIES
    if density is None or not all(lowest <= each <= highest for each in density):
        return None
    x, y = density
    return (y, x) if exif.orientation >= 5 else (x, y)


def result_metadata(
    source: SourceMetadata, policy: Policy, making: Making
) -> tuple[Metadata, tuple[str, ...]]:
    """What a result says, and what is to be said of it, a line each.

    The density stays: an enlarged photograph is printed larger, not finer.
    """
    remarks = list(source.remarks) if policy != "strip" else []
    geo = _geo(source, policy, making, remarks)
    if policy == "strip":
        return Metadata(geo=geo, is_big=source.is_big), tuple(remarks)
    exif = exif_module.corrected(
        source.exif, making.size, making.factors, source.density, is_srgb=making.is_srgb
    )
    if policy == "no-location":
        exif = exif_module.without_location(exif)
    metadata = Metadata(
        exif=exif_module.encoded(exif),
        xmp=_xmp(source, policy, making, remarks),
        iptc=_iptc(source, policy, remarks),
        density=source.density,
        geo=geo,
        is_big=source.is_big,
    )
    if making.format == "jpeg":
        metadata = _fitting_segments(metadata, remarks)
    return metadata, tuple(remarks)


def _fitting_segments(metadata: Metadata, remarks: list[str]) -> Metadata:
    """Without what is larger than a segment of JPEG."""

    def fitting(name: str, content: bytes | None) -> bytes | None:
        if len(content or b"") <= _MOST_SEGMENT_BYTES:
            return content
        remarks.append(f"its {name} is left out: JPEG holds 64 kB of it; PNG and TIFF hold more")
        return None

    return replace(
        metadata,
        exif=fitting("EXIF", metadata.exif),
        xmp=fitting("XMP", metadata.xmp),
        iptc=fitting("IPTC", metadata.iptc),
    )


def _xmp(source: SourceMetadata, policy: Policy, making: Making, remarks: list[str]) -> bytes:
    arguments = (policy, making.size, making.factors, making.history)
    try:
        return xmp.corrected(source.xmp, *arguments)
    except ValueError:
        remarks.append("its XMP is damaged and left out")
        return xmp.corrected(None, *arguments)


def _iptc(source: SourceMetadata, policy: Policy, remarks: list[str]) -> bytes | None:
    if source.iptc is None or policy == "keep":
        return source.iptc
    try:
        return iptc.without_location(source.iptc) or None
    except ValueError:
        remarks.append("its IPTC is damaged and left out")
        return None


def _geo(
    source: SourceMetadata, policy: Policy, making: Making, remarks: list[str]
) -> Mapping[int, Value]:
    if not source.geo:
        return {}
    is_georeferenced = georeference.is_georeferenced(source.geo)
    if making.format != "tiff":
        if is_georeferenced:
            remarks.append("its georeference is lost; only TIFF can keep it (--format tiff)")
        return {}
    if policy != "keep":
        return georeference.without_location(source.geo)
    if source.exif.orientation != 1 or not georeference.NOT_KEPT.isdisjoint(source.geo):
        remarks.append("its georeference is of a rare kind and lost")
        return georeference.without_location(source.geo)
    try:
        return georeference.enlarged(source.geo, making.factors)
    except ValueError:
        remarks.append("its georeference is damaged and lost")
        return georeference.without_location(source.geo)

"""EXIF of a source to EXIF of its result."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from PIL.ExifTags import IFD, Base

from superres.imaging.metadata.directories import (
    LONG,
    SHORT,
    Directory,
    Layout,
    Value,
    layout_of,
    rational,
    read_directory,
    value,
    write_directory,
)

_INCH, _CENTIMETRE, _UPRIGHT, _SRGB = 2, 3, 1, 1
_CM_PER_INCH = 2.54
_MAKER_NOTE, _WIDTH, _HEIGHT = Base.MakerNote, Base.ExifImageWidth, Base.ExifImageHeight
_OF_FOCAL_PLANE = (Base.FocalPlaneXResolution, Base.FocalPlaneYResolution)
_OF_DENSITY = frozenset([Base.XResolution, Base.YResolution, Base.ResolutionUnit])
_IN_PIXELS_OF_SOURCE = frozenset([0x9214, 0xA214])  # SubjectArea, SubjectLocation
# Of the first directory, what describes the picture rather than how this file stores it.
_DESCRIPTIVE = frozenset(
    [
        *(Base.ProcessingSoftware, Base.DocumentName, Base.ImageDescription, Base.Make, Base.Model),
        *(Base.PageName, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer),
        *(Base.Rating, Base.RatingPercent, Base.Copyright, Base.DateTimeOriginal),
        *(Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject),
        *(Base.XResolution, Base.YResolution, Base.ResolutionUnit, Base.Orientation),
    ]
)


@dataclass(frozen=True)
class Exif:
    """The directories of EXIF; frozen.

    Attributes:
        layout: of the source; notes of makers depend on it.
        image: the first directory, of what describes the picture.
        photo: how it was taken.
        gps: where.
        interoperability: of the colour space, mostly.
    """

    layout: Layout = field(default_factory=Layout)
    image: Mapping[int, Value] = field(default_factory=dict)
    photo: Mapping[int, Value] = field(default_factory=dict)
    gps: Mapping[int, Value] = field(default_factory=dict)
    interoperability: Mapping[int, Value] = field(default_factory=dict)

    @property
    def orientation(self) -> int:
        """1 to 8; 1 where the file does not say."""
        found = self.image.get(Base.Orientation)
        number = int((found and found.number) or 0)
        return number if 1 <= number <= 8 else _UPRIGHT

    @property
    def density(self) -> tuple[float, float] | None:
        """Horizontal and vertical, in pixels per inch; None where the file does not say."""
        x, y = (self.image.get(tag) for tag in (Base.XResolution, Base.YResolution))
        unit = self.image.get(Base.ResolutionUnit)
        if not (x and y and x.number and y.number):
            return None
        factors = {_INCH: 1.0, _CENTIMETRE: _CM_PER_INCH}
        factor = factors.get(int(unit.number or 0) if unit else _INCH)
        return (x.number * factor, y.number * factor) if factor else None

    def movable(self) -> "Exif":
        """The same, whose maker's note goes with its directory."""
        photo = {tag: replace(each, place=None) for tag, each in self.photo.items()}
        return replace(self, photo=photo)

    def directories(self) -> Directory:
        """The first directory with the others below it; without those that are empty."""
        photo: dict[int, Value | Directory] = dict(self.photo)
        if self.interoperability:
            photo[IFD.Interop] = self.interoperability
        below: dict[int, Directory] = {IFD.Exif: photo, IFD.GPSInfo: self.gps}
        return {**self.image, **{tag: each for tag, each in below.items() if each}}


def read_exif(content: bytes) -> Exif:
    """EXIF from its TIFF header on.

    Raises:
        ValueError: it is damaged.
    """
    layout, first = layout_of(content[:16])
    stream = io.BytesIO(content)
    image, _ = read_directory(stream, layout, first)
    return exif_of(stream, layout, image, staying=_MAKER_NOTE)


def exif_of(
    stream: BinaryIO, layout: Layout, image: Mapping[int, Value], staying: int | None = None
) -> Exif:
    """EXIF below the directory of an image; without what is damaged below it.

    The value of the tag ``staying`` stays where it is when it is encoded again.
    """
    photo = _below(stream, layout, image.get(IFD.Exif), staying)
    return Exif(
        layout,
        {tag: image[tag] for tag in _DESCRIPTIVE & image.keys()},
        {tag: each for tag, each in photo.items() if tag != IFD.Interop},
        _below(stream, layout, image.get(IFD.GPSInfo)),
        _below(stream, layout, photo.get(IFD.Interop)),
    )


def _below(
    stream: BinaryIO, layout: Layout, pointer: Value | None, staying: int | None = None
) -> dict[int, Value]:
    offset = pointer.number if pointer and pointer.count == 1 else None
    if not offset:
        return {}
    try:
        return read_directory(stream, layout, int(offset), staying)[0]
    except ValueError:
        return {}


def corrected(
    exif: Exif,
    size: tuple[int, int],
    factors: tuple[float, float],
    density: tuple[float, float] | None,
    *,
    is_srgb: bool,
) -> Exif:
    """EXIF of a result: upright, of its own size, without what counts pixels of the source.

    Args:
        exif: of the source.
        size: width and height of the result.
        factors: by which the upright source was enlarged, horizontally and vertically.
        density: of the result, in pixels per inch.
        is_srgb: the samples of the result are sRGB.
    """
    gone = {*_OF_DENSITY, Base.Orientation}  # without it, an image is upright
    image = {tag: each for tag, each in exif.image.items() if tag not in gone}
    if density:
        x, y = map(rational, density)
        unit = value(SHORT, [_INCH])
        image |= {Base.XResolution: x, Base.YResolution: y, Base.ResolutionUnit: unit}
    photo = {tag: each for tag, each in exif.photo.items() if tag not in _IN_PIXELS_OF_SOURCE}
    if photo:
        photo |= {_WIDTH: value(LONG, [size[0]]), _HEIGHT: value(LONG, [size[1]])}
        photo |= _focal_plane(exif, factors)
    if Base.ColorSpace in photo and is_srgb:
        photo[Base.ColorSpace] = value(SHORT, [_SRGB])
    interoperability = {} if is_srgb else exif.interoperability
    return replace(exif, image=image, photo=photo, interoperability=interoperability)


def _focal_plane(exif: Exif, factors: tuple[float, float]) -> dict[int, Value]:
    """Pixels of the result per unit of the sensor."""
    found = [exif.photo.get(tag) for tag in _OF_FOCAL_PLANE]
    if exif.orientation >= 5:
        found.reverse()
    return {
        tag: rational(each.number * factor)
        for tag, each, factor in zip(_OF_FOCAL_PLANE, found, factors, strict=True)
        if each and each.number and 0 < each.number * factor < 400_000
    }


def without_location(exif: Exif) -> Exif:
    """Without the place; also without the maker's note, in which some cameras repeat it."""
    photo = {tag: each for tag, each in exif.photo.items() if tag != _MAKER_NOTE}
    return replace(exif, photo=photo, gps={})


def encoded(exif: Exif) -> bytes | None:
    """EXIF from its TIFF header on; None if it says nothing.

    The maker's note stays where it was, since some count their offsets from the header.
    """
    directories = exif.directories()
    if not directories:
        return None
    layout = replace(exif.layout, is_big=False)
    note = exif.photo.get(_MAKER_NOTE)
    if note is None or note.place is None or note.place < len(layout.header):
        return layout.header + write_directory(exif.movable().directories(), layout, 8)
    start = note.place + len(note.data) + len(note.data) % 2
    head = layout.header_for(start).ljust(note.place, b"\0") + note.data
    return head.ljust(start, b"\0") + write_directory(directories, layout, start)

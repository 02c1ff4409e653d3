"""Finds the metadata in files of each accepted format; decodes no pixel."""

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO

from superres.imaging import jpeg_segments, png_chunks, webp_chunks
from superres.imaging.jpeg_segments import EXIF, PHOTOSHOP, XMP
from superres.imaging.metadata import iptc as iptc_datasets
from superres.imaging.metadata.directories import (
    MOST_BYTES,
    Layout,
    Value,
    layout_of,
    read_directory,
)
from superres.imaging.metadata.georeference import NOT_KEPT, TAGS

_JFIF = b"JFIF\0"
_CM_PER_INCH, _METRES_PER_INCH = 2.54, 0.0254
_XMP_TAG, _IPTC_TAG, _PHOTOSHOP_TAG = 700, 33723, 34377


@dataclass
class Found:
    """What a file holds, as it stands there.

    Attributes:
        exif: from its TIFF header on.
        xmp: a packet.
        iptc: datasets.
        density: horizontal and vertical as stored, in pixels per inch.
        layout: of a TIFF.
        directory: of a TIFF, that of the page.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    density: tuple[float, float] | None = None
    layout: Layout | None = None
    directory: Mapping[int, Value] = field(default_factory=dict)

    @property
    def geo(self) -> dict[int, Value]:
        """The tags of GeoTIFF and GDAL."""
        return {tag: self.directory[tag] for tag in self.directory.keys() & (TAGS | NOT_KEPT)}


def find(stream: BinaryIO, format_name: str, index: int) -> Found:
    """What the page or frame ``index`` of a file says, from 0.

    Raises:
        ValueError: the directory of a TIFF is damaged.
    """
    match format_name:
        case "JPEG":
            return _in_jpeg(stream)
        case "PNG":
            return _in_png(stream)
        case "WebP":
            return _in_webp(stream)
        case "TIFF":
            return _in_tiff(stream, index)
        case "BMP":
            return _in_bmp(stream)
    return Found()


def _in_jpeg(stream: BinaryIO) -> Found:
    found = Found()
    for segment in jpeg_segments.segments(stream):
        if segment.mark == jpeg_segments.START_OF_SCAN:
            break
        if segment.mark not in (0xE0, 0xE1, 0xED):
            continue
        content = segment.content(stream)
        if content.startswith(_JFIF) and len(content) >= 12:
            unit, x, y = struct.unpack_from(">BHH", content, 7)
            factor = {1: 1.0, 2: _CM_PER_INCH}.get(unit, 0)
            found.density = (x * factor, y * factor) if x and y and factor else None
        elif content.startswith(EXIF):
            found.exif = found.exif or content.removeprefix(EXIF)
        elif content.startswith(XMP):
            found.xmp = found.xmp or content.removeprefix(XMP)
        elif content.startswith(PHOTOSHOP):
            resources = content.removeprefix(PHOTOSHOP)
            found.iptc = found.iptc or iptc_datasets.in_photoshop(resources)
    return found


def _in_png(stream: BinaryIO) -> Found:
    found = Found()
    for chunk in png_chunks.chunks(stream):
        if chunk.name not in (b"pHYs", b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
            continue
        content = chunk.content(stream, MOST_BYTES)
        if chunk.name == b"pHYs" and len(content) >= 9:
            x, y, unit = struct.unpack_from(">IIB", content)
            found.density = _of_metres(x, y) if unit == 1 else None
        elif chunk.name == b"eXIf":
            found.exif = content.removeprefix(EXIF)
        else:
            _take_text(found, chunk.name, content)
    return found


def _take_text(found: Found, kind: bytes, content: bytes) -> None:
    """XMP, or what ImageMagick writes as hexadecimal digits."""
    key, _, rest = content.partition(b"\0")
    if key == b"XML:com.adobe.xmp" and kind == b"iTXt" and len(rest) > 2:
        _, _, text = rest[2:].partition(b"\0")  # behind flags and language
        _, _, text = text.partition(b"\0")
        found.xmp = _inflated(text) if rest[0] else text
    elif key in (b"Raw profile type iptc", b"Raw profile type 8bim"):
        raw = _raw_profile(_inflated(rest[1:]) if kind == b"zTXt" else rest)
        found.iptc = found.iptc or (raw and (iptc_datasets.in_photoshop(raw) or _if_iptc(raw)))
    elif key in (b"Raw profile type exif", b"Raw profile type APP1"):
        raw = _raw_profile(_inflated(rest[1:]) if kind == b"zTXt" else rest)
        if raw and raw.startswith(EXIF):
            found.exif = found.exif or raw.removeprefix(EXIF)


def _if_iptc(raw: bytes) -> bytes | None:
    return raw if raw[:1] == b"\x1c" else None


def _inflated(packed: bytes) -> bytes:
    with suppress(zlib.error):
        return zlib.decompressobj().decompress(packed, MOST_BYTES)
    return b""


def _raw_profile(text: bytes) -> bytes | None:
    """The bytes of a text of three parts: name, length, hexadecimal digits."""
    match = re.match(rb"\s*\S+\s+(\d{1,9})\s+([0-9a-fA-F\s]*)$", text)
    if match is None:
        return None
    with suppress(ValueError):
        return bytes.fromhex(match[2].decode())[: int(match[1])]
    return None


def _in_webp(stream: BinaryIO) -> Found:
    found = Found()
    for name, size in _riff_chunks(stream):
        if name == b"EXIF":
            found.exif = stream.read(min(size, MOST_BYTES)).removeprefix(EXIF)
        elif name == b"XMP ":
            found.xmp = stream.read(min(size, MOST_BYTES))
    return found


def _riff_chunks(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and size of each chunk, whose content is read next."""
    position = 12
    for _ in range(webp_chunks.MOST_CHUNKS):
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            return
        name, size = struct.unpack("<4sI", head)
        yield name, size
        position += 8 + size + size % 2


def _in_tiff(stream: BinaryIO, index: int) -> Found:
    stream.seek(0)
    layout, start = layout_of(stream.read(16))
    directory, following = read_directory(stream, layout, start)
    for _ in range(index):
        directory, following = read_directory(stream, layout, following)
    found = Found(layout=layout, directory=directory)
    if _XMP_TAG in directory:
        found.xmp = directory[_XMP_TAG].data
    if _PHOTOSHOP_TAG in directory:
        found.iptc = iptc_datasets.in_photoshop(directory[_PHOTOSHOP_TAG].data)
    if _IPTC_TAG in directory:  # some programs write it as numbers of 32 bits
        found.iptc = _if_iptc(directory[_IPTC_TAG].data) or found.iptc
    return found


def _in_bmp(stream: BinaryIO) -> Found:
    stream.seek(0)
    head = stream.read(46)
    if len(head) < 46 or struct.unpack_from("<I", head, 14)[0] < 40:
        return Found()
    return Found(density=_of_metres(*struct.unpack_from("<ii", head, 38)))


def _of_metres(x: int, y: int) -> tuple[float, float] | None:
    return (x * _METRES_PER_INCH, y * _METRES_PER_INCH) if x > 0 and y > 0 else None

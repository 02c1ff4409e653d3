"""Photographs with everything that a camera, a phone and an editor may write into them."""

import io
import struct
import zlib
from functools import cache

from PIL import Image, ImageCms
from PIL.ExifTags import GPS, IFD, Base
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from tests.support import image_files

PLANTED = "Planted-7f3a"
"""Stands in every field that nobody may see."""
CAMERA, MODEL, DATE = "Acme", "A-1", "2026:01:31 12:00:00"
_XMP = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>{PLANTED}</a></x:xmpmeta>'.encode()


@cache
def exif(orientation: int = 6) -> bytes:
    """EXIF with its prefix: position, names, serial numbers, comments, maker notes, thumbnail."""
    written = Image.Exif()
    written[Base.Make], written[Base.Model], written[Base.DateTime] = CAMERA, MODEL, DATE
    written[Base.Orientation] = orientation
    for tag in (Base.Artist, Base.Copyright, Base.ImageDescription, Base.Software):
        written[tag] = f"{tag.name} {PLANTED}"
    written[Base.XPAuthor] = PLANTED.encode("utf-16-le")
    photo = written.get_ifd(IFD.Exif)
    photo[Base.DateTimeOriginal] = DATE
    photo[Base.ColorSpace] = 1
    for tag in (Base.CameraOwnerName, Base.BodySerialNumber, Base.LensSerialNumber):
        photo[tag] = f"{tag.name} {PLANTED}"
    photo[Base.UserComment] = b"ASCII\0\0\0" + PLANTED.encode()
    photo[Base.MakerNote] = PLANTED.encode() * 9
    photo[Base.ImageUniqueID] = PLANTED
    gps = written.get_ifd(IFD.GPSInfo)
    gps[GPS.GPSLatitudeRef], gps[GPS.GPSLongitudeRef] = "N", "E"
    gps[GPS.GPSLatitude] = gps[GPS.GPSLongitude] = tuple(map(IFDRational, (52, 31, 12)))
    gps[GPS.GPSAreaInformation] = PLANTED.encode()
    return written.tobytes()


@cache
def profile() -> bytes:
    """A profile as displays have it: with its owner's name, and a serial number in a maker's tag.

    Colours differ from sRGB: red and green are swapped.
    """
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack_from(">I", plain, 128)
    entries = [struct.unpack_from(">4sII", plain, 132 + 12 * number) for number in range(count)]
    tags = {name: plain[start : start + size] for name, start, size in entries}
    tags[b"rXYZ"], tags[b"gXYZ"] = tags[b"gXYZ"], tags[b"rXYZ"]
    tags[b"cprt"] = _text_tag(PLANTED)
    tags[b"desc"] = _text_tag(f"{PLANTED}'s display")
    tags[b"mmod"] = b"mmod" + bytes(4) + PLANTED.encode() * 3
    table, content = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        start = 132 + 12 * len(tags) + len(content)
        table += struct.pack(">4sII", name, start, len(tag))
        content += tag + bytes(-len(tag) % 4)
    whole = plain[4:128] + table + content
    return struct.pack(">I", len(whole) + 4) + whole


def _text_tag(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    record = struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28)
    return b"mluc" + bytes(4) + record + encoded


def _picture(height: int, width: int) -> Image.Image:
    return Image.open(io.BytesIO(image_files.png(image_files.photo(height, width))))


def jpeg(height: int = 40, width: int = 60, *, progressive: bool = False) -> bytes:
    """A JPEG with EXIF, XMP, IPTC, comment, thumbnails, profile, and an image behind its end."""
    stream = io.BytesIO()
    _picture(height, width).save(
        stream,
        "JPEG",
        exif=exif(),
        icc_profile=profile(),
        comment=PLANTED,
        progressive=progressive,
        xmp=_XMP,
    )
    content = stream.getvalue()
    thumbnail = b"JFIF\0\x01\x02\x00\x00\x01\x00\x01\x08\x01" + PLANTED.encode() * 2
    foreign = [
        (0xE0, thumbnail),
        (0xE0, b"JFXX\0\x10" + PLANTED.encode()),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0" + _XMP),
        (0xE1, exif()),
        (0xE2, b"MPF\0" + PLANTED.encode()),
        (0xED, b"Photoshop 3.0\x008BIM\x04\x04" + PLANTED.encode()),
        (0xEE, b"Adobe\0\x64\0\0\0\0\x01" + PLANTED.encode()),
        (0xEF, PLANTED.encode()),
    ]
    segments = b"".join(
        bytes([0xFF, mark]) + struct.pack(">H", len(text) + 2) + text for mark, text in foreign
    )
    return content[:2] + segments + content[2:] + PLANTED.encode() + content


def png(height: int = 40, width: int = 60) -> bytes:
    """A PNG with EXIF, texts of all kinds, XMP, a private chunk, a profile, and a tail."""
    info = PngInfo()
    info.add_text("Author", PLANTED)
    info.add_text("Comment", PLANTED * 9, zip=True)
    info.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    stream = io.BytesIO()
    _picture(height, width).save(
        stream, "PNG", exif=exif(), icc_profile=profile(), pnginfo=info, dpi=(300, 300)
    )
    content = stream.getvalue()
    private = b"prVt" + PLANTED.encode()
    chunk = struct.pack(">I", len(private) - 4) + private + struct.pack(">I", zlib.crc32(private))
    return content[:33] + chunk + content[33:] + PLANTED.encode()


def webp(height: int = 40, width: int = 60, *, frames: int = 1) -> bytes:
    """A WebP with EXIF, XMP, a profile, an unknown chunk and a tail."""
    stream = io.BytesIO()
    picture = _picture(height, width)
    picture.save(
        stream,
        "WEBP",
        lossless=True,
        exif=exif(),
        xmp=_XMP,
        icc_profile=profile(),
        **({"save_all": True, "append_images": [picture.rotate(180)]} if frames > 1 else {}),
    )
    content = stream.getvalue()
    unknown = b"prVt" + struct.pack("<I", len(PLANTED)) + PLANTED.encode()
    body = content[8:] + unknown
    return b"RIFF" + struct.pack("<I", len(body)) + body + PLANTED.encode()


def tiff(height: int = 40, width: int = 60) -> bytes:
    """A TIFF with EXIF and a description."""
    stream = io.BytesIO()
    picture = _picture(height, width)
    picture.save(stream, "TIFF", description=PLANTED, artist=PLANTED, exif=exif(1))
    return stream.getvalue()

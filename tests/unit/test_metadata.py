"""What files say beside their pixels, from source to result; other libraries write and read it."""

import io
import struct
import zlib
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, IptcImagePlugin
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngImageFile, PngInfo

from superres.imaging.decoding import decode
from superres.imaging.encoding.formats import FORMATS, Encoding, FormatName
from superres.imaging.encoding.writing import encode
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.metadata.directories import (
    DOUBLE,
    Directory,
    Layout,
    Value,
    read_directory,
    value,
    write_directory,
)
from superres.imaging.metadata.model import Policy
from superres.imaging.metadata.source import Making, read_metadata, result_metadata
from tests.support.image_files import photo, pillow, png_chunk

LIMITS = Limits(1 << 28, 100_000_000)
HISTORY = {"action": "resized", "parameters": "with network.safetensors, SHA-256 f00d"}
NAME, DATE = "José Müller", "2026:01:31 12:00:00"
MAKER_NOTE = b"Camera\0" + bytes(range(200))
EVENT = "{http://ns.adobe.com/xap/1.0/sType/ResourceEvent#}"
XMP_HEAD = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
)
XMP = (
    f"{XMP_HEAD}"
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"'
    ' xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
    ' xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"'
    ' xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"'
    ' tiff:Orientation="6" exif:GPSLatitude="52,31N" photoshop:City="Berlin">'
    "<exif:PixelXDimension>40</exif:PixelXDimension>"
    f"<dc:title><rdf:Alt><rdf:li>{NAME}</rdf:li></rdf:Alt></dc:title>"
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def dataset(number: int, text: str) -> bytes:
    return struct.pack(">BBBH", 0x1C, 2, number, len(text.encode())) + text.encode()


CAPTION, CITY = dataset(120, NAME), dataset(90, "Berlin")


def exif(orientation: int = 1) -> bytes:
    """Everything that matters here, with its prefix."""
    written = Image.Exif()
    written[Base.Make], written[Base.DateTime] = "Acme", DATE
    placeholder = "x" * len(NAME.encode())  # Pillow writes ASCII alone
    written[Base.Artist] = placeholder
    written[Base.Orientation] = orientation
    written[Base.XResolution], written[Base.YResolution] = 240.0, 120.0
    written[Base.ResolutionUnit] = 2
    photo_directory = written.get_ifd(IFD.Exif)
    photo_directory[Base.ExifImageWidth], photo_directory[Base.ExifImageHeight] = 40, 30
    photo_directory[Base.FocalPlaneXResolution] = 1000.0
    photo_directory[Base.FocalPlaneYResolution] = 500.0
    photo_directory[Base.MakerNote] = MAKER_NOTE
    photo_directory[Base.ColorSpace] = 2
    photo_directory[0x9214] = (20, 15)  # SubjectArea
    gps = written.get_ifd(IFD.GPSInfo)
    gps[1], gps[2] = "N", (52.0, 31.0, 12.0)
    return written.tobytes().replace(placeholder.encode(), NAME.encode())


def with_xmp() -> Image.Exif:
    """EXIF, as Pillow takes it for TIFF."""
    written = Image.Exif()
    written.load(exif())
    written[700] = XMP.encode()
    return written


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    content = pillow(photo(30, 40), "JPEG")
    added = b"".join(
        struct.pack(">BBH", 0xFF, mark, 2 + len(body)) + body for mark, body in segments
    )
    return content[:2] + added + content[2:]


def resource(iptc: bytes) -> bytes:
    block = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)
    return b"Photoshop 3.0\0" + struct.pack(">4sHHI", b"8BIM", 0x03ED, 0, 1) + b"x\0" + block


def full_jpeg(orientation: int = 1) -> bytes:
    return jpeg_with(
        (0xE1, exif(orientation)),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP.encode()),
        (0xED, resource(CAPTION + CITY)),
    )


def result_of(
    source: bytes, name: FormatName, folder, policy: Policy = "keep", scale: int = 2
) -> tuple[bytes, tuple[str, ...]]:
    """The source enlarged by repeating pixels, with what its metadata becomes; and the remarks."""
    image = decode(source, LIMITS)
    samples = image.planes().repeat(scale, 1).repeat(scale, 2)
    _, height, width = samples.shape
    info = ImageInfo(width, height, samples.shape[0], image.info.bit_depth)
    size = (image.info.width, image.info.height)
    making = Making(size, (width, height), is_srgb=True, history=HISTORY, format=name)
    metadata, remarks = result_metadata(image.metadata(), policy, making)
    path = folder / "result"
    encode([samples], info, path, Encoding(name), metadata)
    return path.read_bytes(), remarks


def exif_in(content: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(content)) as picture:
        return picture.getexif()


# ---- EXIF


@pytest.mark.parametrize("name", FORMATS)
def test_date_place_and_camera_are_in_every_format(name, tmp_path):
    content, remarks = result_of(full_jpeg(), name, tmp_path)
    found = exif_in(content)
    assert (found[Base.Make], found[Base.DateTime]) == ("Acme", DATE)
    assert found.get_ifd(IFD.GPSInfo)[2] == (52.0, 31.0, 12.0)
    taken = found.get_ifd(IFD.Exif)
    assert (taken[Base.ExifImageWidth], taken[Base.ExifImageHeight]) == (80, 60)
    assert taken[Base.MakerNote] == MAKER_NOTE
    assert remarks == ()


def test_another_library_reads_the_same(tmp_path):
    content, _ = result_of(full_jpeg(), "jpeg", tmp_path)
    image = pyvips.Image.jpegload_buffer(content)
    assert image.get("exif-ifd0-DateTime").startswith(DATE)
    assert image.get("exif-ifd3-GPSLatitude").startswith("52/1 31/1 12/1")
    assert image.get("exif-ifd2-ColorSpace").startswith("1 ")
    assert (round(image.xres * 25.4), round(image.yres * 25.4)) == (240, 120)


def test_letters_stay_as_they_were(tmp_path):
    content, _ = result_of(full_jpeg(), "jpeg", tmp_path)
    assert NAME.encode() in content
    assert exif_in(content)[Base.Artist].encode("latin-1") == NAME.encode()


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "avif"])
def test_the_makers_note_stays_at_its_offset(name, tmp_path):
    source = exif().removeprefix(b"Exif\0\0")
    content, _ = result_of(full_jpeg(), name, tmp_path)
    with Image.open(io.BytesIO(content)) as picture:
        written = picture.info["exif"].removeprefix(b"Exif\0\0")
    assert written.index(MAKER_NOTE) == source.index(MAKER_NOTE)


@pytest.mark.parametrize("name", ["jpeg", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_results_are_upright_and_say_so(orientation, name, tmp_path):
    content, _ = result_of(full_jpeg(orientation), name, tmp_path)
    found = exif_in(content)
    assert found.get(Base.Orientation, 1) == 1  # Pillow takes it from XMP as well
    turned = orientation >= 5
    taken = found.get_ifd(IFD.Exif)
    sides = (taken[Base.ExifImageWidth], taken[Base.ExifImageHeight])
    assert sides == ((60, 80) if turned else (80, 60))
    plane = (taken[Base.FocalPlaneXResolution], taken[Base.FocalPlaneYResolution])
    assert plane == ((1000, 2000) if turned else (2000, 1000))
    assert 0x9214 not in taken


def test_thumbnails_are_left_out(tmp_path):
    source = Image.Exif()
    source[Base.Make] = "Acme"
    thumbnail = pillow(photo(8, 8), "JPEG")
    head = source.tobytes()
    first = head[6:]
    # A second directory with the thumbnail behind the first one.
    at = len(first)
    entries = [(0x201, 4, 1, at + 2 + 2 * 12 + 4), (0x202, 4, 1, len(thumbnail))]
    second = struct.pack(">H", 2) + b"".join(struct.pack(">HHII", *each) for each in entries)
    second += bytes(4) + thumbnail
    count = struct.unpack(">H", first[8:10])[0]
    link = 10 + 12 * count
    linked = first[:link] + struct.pack(">I", at) + first[link + 4 :] + second
    content, _ = result_of(jpeg_with((0xE1, b"Exif\0\0" + linked)), "jpeg", tmp_path)
    assert exif_in(content)[Base.Make] == "Acme"
    assert exif_in(content).get_ifd(IFD.IFD1) == {}
    assert thumbnail not in content


@pytest.mark.parametrize("name", FORMATS)
def test_no_location_leaves_no_place_anywhere(name, tmp_path):
    content, remarks = result_of(full_jpeg(), name, tmp_path, "no-location")
    found = exif_in(content)
    assert found[Base.DateTime] == DATE
    assert IFD.GPSInfo not in found
    assert b"Berlin" not in content
    assert b"GPSLatitude" not in content
    assert MAKER_NOTE not in content
    assert remarks == ()


@pytest.mark.parametrize("name", FORMATS)
def test_strip_leaves_nothing(name, tmp_path):
    content, remarks = result_of(full_jpeg(), name, tmp_path, "strip")
    assert b"xpacket" not in content
    assert b"Acme" not in content
    assert not {Base.DateTime, IFD.Exif, IFD.GPSInfo} & set(exif_in(content))
    assert remarks == ()


# ---- density


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_the_density_stays(kind, name, tmp_path):
    content, _ = result_of(pillow(photo(30, 40), kind, dpi=(300, 200)), name, tmp_path)
    found = exif_in(content)
    if name not in ("webp", "avif"):
        with Image.open(io.BytesIO(content)) as picture:
            assert tuple(map(round, picture.info["dpi"])) == (300, 200)
    assert (round(found[Base.XResolution]), round(found[Base.YResolution])) == (300, 200)


def test_the_density_turns_with_the_image(tmp_path):
    source = pillow(photo(30, 40), "JPEG", dpi=(300, 200), exif=exif(6))
    with Image.open(io.BytesIO(result_of(source, "jpeg", tmp_path)[0])) as picture:
        assert picture.info["dpi"] == (200, 300)


# ---- XMP and IPTC


@pytest.mark.parametrize("name", FORMATS)
def test_xmp_is_corrected_and_tells_the_history(name, tmp_path):
    content, _ = result_of(full_jpeg(), name, tmp_path)
    with Image.open(io.BytesIO(content)) as picture:
        xmp = picture.info["xmp"].decode()
    assert NAME in xmp
    assert 'tiff:Orientation="1"' in xmp
    assert "<exif:PixelXDimension>80<" in xmp
    assert "hdrgm:" not in xmp.replace("xmlns:hdrgm", "")
    entries = ElementTree.fromstring(xmp.encode()).iter(f"{EVENT}parameters")
    assert [entry.text for entry in entries] == [HISTORY["parameters"]]


def test_a_history_goes_on(tmp_path):
    once, _ = result_of(pillow(photo(9, 9), "PNG"), "png", tmp_path)
    twice, _ = result_of(once, "png", tmp_path)
    assert twice.count(b">resized<") == 2
    assert twice.count(b"<xmpMM:History") == 1


@pytest.mark.parametrize("name", ["jpeg", "tiff", "png"])
def test_iptc_is_in_the_formats_that_have_it(name, tmp_path):
    content, _ = result_of(full_jpeg(), name, tmp_path)
    if name == "png":
        with PngImageFile(io.BytesIO(content)) as picture:
            lines = picture.text["Raw profile type iptc"].split("\n")
        assert lines[1] == "iptc"
        raw = bytes.fromhex("".join(lines[3:]))
        assert len(raw) == int(lines[2])
        assert CAPTION + CITY in raw
        again, _ = result_of(content, "jpeg", tmp_path)
        assert CAPTION + CITY in again
        return
    with Image.open(io.BytesIO(content)) as picture:
        found = IptcImagePlugin.getiptcinfo(picture)
    assert found[(2, 120)] == NAME.encode()
    assert found[(2, 90)] == b"Berlin"


# ---- other sources


@pytest.mark.parametrize("kind", ["PNG", "WebP", "TIFF"])
def test_other_formats_are_read(kind, tmp_path):
    options: dict[str, Any] = {"exif": exif(), "xmp": XMP.encode()}
    if kind == "PNG":
        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", XMP, zip=True)
        options = {"exif": exif(), "pnginfo": text}
    if kind == "TIFF":
        options = {"exif": with_xmp()}
    content, remarks = result_of(pillow(photo(30, 40), kind, **options), "jpeg", tmp_path)
    found = exif_in(content)
    assert (found[Base.DateTime], found.get_ifd(IFD.GPSInfo)[1]) == (DATE, "N")
    assert found.get_ifd(IFD.Exif)[Base.MakerNote] == MAKER_NOTE
    with Image.open(io.BytesIO(content)) as picture:
        assert NAME in picture.info["xmp"].decode()
    assert remarks == ()


def test_exif_as_imagemagick_writes_it_is_read(tmp_path):
    text = f"\nexif\n{len(exif()):8}\n{exif().hex()}\n".encode()
    chunk = png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    content = pillow(photo(9, 9), "PNG")
    content = content[:33] + chunk + content[33:]
    assert exif_in(result_of(content, "jpeg", tmp_path)[0])[Base.DateTime] == DATE


# ---- damage


DAMAGED = {
    "EXIF": (0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"),
    "XMP": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta"),
    "XMP that grows": (
        0xE1,
        b"http://ns.adobe.com/xap/1.0/\0"
        b'<!DOCTYPE a [<!ENTITY b "ccc">]><a xmlns:x="adobe:ns:meta/">&b;</a>',
    ),
    "XMP without RDF": (0xE1, b"http://ns.adobe.com/xap/1.0/\0<a/>"),
    "XMP of many levels": (
        0xE1,
        b"http://ns.adobe.com/xap/1.0/\0" + b"<a>" * 9000 + b"</a>" * 9000,
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_metadata_is_left_out_with_a_remark(kind, tmp_path):
    content, remarks = result_of(jpeg_with(DAMAGED[kind]), "jpeg", tmp_path)
    assert remarks == (f"its {kind.split()[0]} is damaged and left out",)
    assert decode(content, LIMITS).info.width == 80


@pytest.mark.parametrize("kind", [11, 12])  # FLOAT, DOUBLE
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0, 1e30])
def test_numbers_that_make_no_sense_count_as_missing(number, kind, tmp_path):
    tags = (Base.Orientation, Base.XResolution, Base.YResolution, Base.ResolutionUnit, IFD.Exif)
    directory: dict[int, Value | Directory] = {tag: value(kind, [number]) for tag in tags}
    directory[Base.Make] = Value(2, b"Acme\0")
    wrong = write_directory(directory, Layout(), 8)
    source = jpeg_with((0xE1, b"Exif\0\0" + Layout().header + wrong))
    content, _ = result_of(source, "jpeg", tmp_path)
    assert exif_in(content)[Base.Make] == "Acme"
    assert decode(content, LIMITS).info.width == 80


def test_offsets_beyond_any_file_are_left_out():
    layout = Layout(is_big=True)
    wrong = Value(DOUBLE, bytes(16), place=2**64 - 1)
    content = layout.header + write_directory({33550: wrong, 256: value(4, [9])}, layout, 16)
    found, _ = read_directory(io.BytesIO(content), layout, 16)
    assert found.keys() == {256}
    with pytest.raises(ValueError, match="behind the end"):
        read_directory(io.BytesIO(content), layout, 2**64 - 1)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_no_damage_to_metadata_fails_an_image(kind, seed, tmp_path):
    rng = np.random.default_rng(seed)
    source = full_jpeg()
    if kind == "TIFF":
        source = pillow(photo(30, 40), "TIFF", exif=with_xmp())
    at = rng.integers(20, 900, 12) if kind == "JPEG" else len(source) - rng.integers(1, 900, 12)
    broken = bytearray(source)
    for place in at:
        broken[place] = rng.integers(256)
    metadata = read_metadata(bytes(broken), kind)
    making = Making((40, 30), (80, 60), is_srgb=True, history=HISTORY, format="tiff")
    found, _ = result_metadata(metadata, "no-location", making)
    samples = np.zeros((3, 60, 80), np.uint8)
    encode([samples], ImageInfo(80, 60, 3, 8), tmp_path / "result", Encoding("tiff"), found)
    assert np.array_equal(tifffile.imread(tmp_path / "result"), np.moveaxis(samples, 0, 2))


def test_what_is_too_large_for_jpeg_is_left_out_with_a_remark(tmp_path):
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.replace(NAME, NAME * 9000))
    source = pillow(photo(9, 9), "PNG", pnginfo=text)
    content, remarks = result_of(source, "jpeg", tmp_path)
    assert remarks == ("its XMP is left out: JPEG holds 64 kB of it; PNG and TIFF hold more",)
    assert decode(content, LIMITS).info.width == 18
    assert result_of(source, "tiff", tmp_path)[1] == ()

"""A small image of each kind that is accepted, and damage that is made to them by a seed."""

import struct
import zlib
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image

from tests.support import image_files, tiff_files

_COLOUR = image_files.photo(40, 48, 3)
_GREY = image_files.photo(40, 48, 1)
_DEEP = image_files.photo(40, 48, 3, depth=16)
_INDEXED = Image.fromarray(_COLOUR).quantize(60)
_PROFILE = image_files.icc_profile(image_files.ADOBE_RGB, 2.2)
_XMP = b"<x:xmpmeta/>" + b" " * 200


def _frames(format_name: str) -> bytes:
    first, *others = (Image.fromarray(np.roll(_COLOUR, 5 * n, axis=0)) for n in range(4))
    if format_name == "GIF":
        first, *others = (picture.quantize(60) for picture in (first, *others))
    return image_files.pillow(first, format_name, save_all=True, append_images=others)


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x8825] = 6, "maker", {1: "N", 2: (50.0, 3.0, 1.0)}
    return exif


def _interlaced() -> bytes:
    """Adam7: each pass is a small image, here of its first filter."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2)]
    passes += [(0, 1, 2, 2), (1, 0, 2, 1)]
    parts = (_COLOUR[top::down, left::across] for top, left, down, across in passes)
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part)
    header = struct.pack(">IIBBBBB", 48, 40, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(image_files.png_chunk(*each) for each in chunks)


def _run_lengths() -> bytes:
    bmp = image_files.pillow(_INDEXED, "BMP")
    (start,) = struct.unpack_from("<I", bmp, 10)
    rows = (b"\x18" + bytes([n]) + b"\x18\x02\0\0" for n in range(40))
    header = bytearray(bmp[:start])
    struct.pack_into("<I", header, 30, 1)
    return bytes(header) + b"".join(rows) + b"\0\1"


def corpus() -> dict[str, bytes]:
    """Good images by name, each a few kilobytes."""
    pillow, png = image_files.pillow, image_files.png
    page = tiff_files.Page
    text = {b"zTXt": b"a\0\0" + zlib.compress(bytes(999)), b"tEXt": b"a\0b"}
    colour = {b"iCCP": b"a\0\0" + zlib.compress(_PROFILE), b"iTXt": b"XML\0\0\0\0\0" + _XMP}
    return {
        "baseline.jpg": pillow(_COLOUR, "JPEG", quality=80),
        "progressive.jpg": pillow(_COLOUR, "JPEG", quality=80, progressive=True),
        "metadata.jpg": pillow(_COLOUR, "JPEG", exif=_exif(), icc_profile=_PROFILE, xmp=_XMP),
        "grey.jpg": pillow(_GREY, "JPEG", restart_marker_blocks=4),
        "cmyk.jpg": pillow(Image.fromarray(_COLOUR).convert("CMYK"), "JPEG"),
        "rgb.png": png(_COLOUR, extra=text),
        "deep.png": png(_DEEP, extra={b"gAMA": struct.pack(">I", 100_000)}),
        "profile.png": png(_COLOUR, extra=colour),
        "alpha.png": png(image_files.photo(40, 48, 4)),
        "palette.png": pillow(_INDEXED, "PNG", transparency=3),
        "one-bit.png": png(_GREY > 128, bits=1),
        "interlaced.png": _interlaced(),
        "frames.png": _frames("PNG"),
        "lossy.webp": pillow(_COLOUR, "WEBP", exif=_exif(), icc_profile=_PROFILE),
        "lossless.webp": pillow(image_files.photo(40, 48, 4), "WEBP", lossless=True),
        "frames.webp": _frames("WEBP"),
        "one.gif": pillow(_INDEXED, "GIF", comment=b"comment"),
        "frames.gif": _frames("GIF"),
        "rgb.bmp": pillow(_COLOUR, "BMP"),
        "palette.bmp": pillow(_INDEXED, "BMP"),
        "alpha.bmp": image_files.bmp_with_alpha(image_files.photo(40, 48, 4)),
        "run-lengths.bmp": _run_lengths(),
        "rgb.tif": tiff_files.write(page(_COLOUR), page(_COLOUR)),
        "big-endian.tif": tiff_files.write(page(_DEEP, compression=8), order=">", big=True),
        "tiles.tif": tiff_files.write(page(_COLOUR, tile=16, compression=8)),
        "planar.tif": tiff_files.write(page(_COLOUR, planar=True)),
        "lzw.tif": pillow(_COLOUR, "TIFF", compression="tiff_lzw", icc_profile=_PROFILE),
        "jpeg.tif": pillow(_COLOUR, "TIFF", compression="jpeg"),
        "fax.tif": pillow(Image.fromarray(_GREY[..., 0] > 128), "TIFF", compression="group4"),
        "zstd.tif": pillow(_COLOUR, "TIFF", compression="zstd"),
        "palette.tif": pillow(_INDEXED, "TIFF", compression="lzma"),
    }


_EXTREMES = (
    *(0, 1, 2, 7, 16, 127, 255, 256, 4_096, 14_142, 32_767, 65_535, 65_536),
    *(1 << 24, 190_000_000, 2**31 - 1, 2**31, 2**32 - 1),
)
_MOST_BYTES = 1 << 20


def damaged(data: bytes, random: Random) -> bytes:
    """The file with one to three changes; mostly in its first bytes, where the structure is."""
    for _ in range(random.choice((1, 1, 2, 3))):
        data = random.choice(_CHANGES)(data, random)[:_MOST_BYTES]
    return with_checksums(data) if random.random() < 0.8 else data


def with_checksums(data: bytes) -> bytes:
    """A PNG with the checksums of its chunks made right; other files unchanged."""
    if not data.startswith(b"\x89PNG"):
        return data
    out, at = [data[:8]], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        content = data[at + 4 : at + 8 + size]
        if len(content) < 4 + size:
            break
        out += [data[at : at + 4], content, struct.pack(">I", zlib.crc32(content))]
        at += 12 + size
    return b"".join(out) + data[at:]


def _place(data: bytes, random: Random) -> int:
    near = random.choice((40, 250, 2_000, len(data)))
    return random.randrange(max(1, min(near, len(data))))


def _flipped(data: bytes, random: Random) -> bytes:
    out = bytearray(data)
    for _ in range(min(len(out), random.choice((1, 1, 3, 30)))):
        out[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(out)


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _extreme(data: bytes, random: Random) -> bytes:
    """A number of one, two, four or eight bytes is replaced, in either order."""
    size = random.choice((1, 2, 2, 4, 4, 4, 8))
    order = random.choice(("little", "big"))
    value = random.choice(_EXTREMES) % (1 << 8 * size)
    at = _place(data, random)
    return data[:at] + value.to_bytes(size, order) + data[at + size :]  # type: ignore[arg-type]


def _repeated(data: bytes, random: Random) -> bytes:
    """A part is repeated, sometimes up to the most bytes of a file."""
    at = _place(data, random)
    part = data[at : at + random.choice((1, 4, 12, 60, 400))]
    most = (_MOST_BYTES - len(data)) // max(1, len(part))
    count = min(max(0, most), random.choice((1, 1, 5, 100, 100_000)))
    return data[:at] + part * count + data[at:]


def _left_out(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + data[at + random.choice((1, 2, 4, 12, 100)) :]


def _filled(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + random.choice((b"\0", b"\xff")) * random.choice((1, 4, 64)) + data[at:]


_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(_flipped, _flipped, _cut),
    *(_extreme, _extreme, _extreme, _repeated, _left_out, _filled),
)

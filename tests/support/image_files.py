"""Makes image files, good and bad, for tests; nothing binary is committed.

Pillow writes the everyday formats. What it cannot write (16-bit RGB, grey with alpha at 16 bits,
any PNG colour type on request, ICC profiles with chosen primaries) is put together here from the
formats' specifications, independently of the code under test.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support import tiff_files

Pixels = NDArray[Any]
"""(H, W) or (H, W, C) samples, interleaved as files have them."""

# Adobe RGB (1998): (x, y) of red, green and blue; its white is D65 and its gamma 563/256.
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))

_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_PNG_TYPES = {1: _GREY, 2: _GREY_ALPHA, 3: _RGB, 4: _RGBA}


def photo(height: int, width: int, channels: int = 3, depth: int = 8, seed: int = 0) -> Pixels:
    """Smooth waves that use the whole range, with a little noise; (H, W, C)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phase = rng.uniform(0, 6, channels)
    pace = rng.uniform(4, 9, channels)
    waves = np.sin(x[..., None] / pace + phase) + np.cos(y[..., None] / pace[::-1] - phase)
    unit = np.clip(waves / 4 + 0.5 + rng.normal(0, 0.01, waves.shape), 0, 1)
    pixels: Pixels = np.rint(unit * (2**depth - 1)).astype(np.uint8 if depth == 8 else np.uint16)
    return pixels


def noise(height: int, width: int, channels: int, depth: int, seed: int = 0) -> Pixels:
    """Every value of the range is as likely; (H, W, C)."""
    dtype = np.uint8 if depth == 8 else np.uint16
    shape = (height, width, channels)
    return np.random.default_rng(seed).integers(0, 2**depth, shape, dtype)


def pillow(pixels: Pixels | Image.Image, format_name: str, **options: Any) -> bytes:
    """The file Pillow writes for an array or image."""
    if isinstance(pixels, Image.Image):
        image = pixels
    else:
        one_channel = pixels.ndim == 3 and pixels.shape[2] == 1
        image = Image.fromarray(pixels[..., 0] if one_channel else pixels)
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def oriented(pixels: Pixels, format_name: str, orientation: int, **options: Any) -> bytes:
    """A file with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return pillow(pixels, format_name, exif=exif, **options)


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + _crc(name + content)


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def png(
    pixels: Pixels,
    *,
    colour_type: int | None = None,
    bits: int | None = None,
    extra: Mapping[bytes, bytes] | None = None,
) -> bytes:
    """A PNG of any colour type and depth, unfiltered; ``extra`` are chunks before the pixels."""
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    height, width, channels = pixels.shape
    bits = bits or 8 * pixels.dtype.itemsize
    colour_type = _PNG_TYPES[channels] if colour_type is None else colour_type
    if bits < 8:
        rows = [_packed(row[:, 0], bits) for row in pixels]
    else:
        rows = [row.astype(pixels.dtype.newbyteorder(">")).tobytes() for row in pixels]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), *(extra or {}).items()]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def _packed(samples: Pixels, bits: int) -> bytes:
    spread = np.unpackbits(samples.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]
    return np.packbits(spread.ravel()).tobytes()


def palette_png(indices: Pixels, palette: Pixels, alpha: Pixels | None = None) -> bytes:
    """(H, W) indices into (N, 3) colours, with (≤ N,) transparency."""
    extra = {b"PLTE": palette.astype(np.uint8).tobytes()}
    if alpha is not None:
        extra[b"tRNS"] = alpha.astype(np.uint8).tobytes()
    return png(indices.astype(np.uint8), colour_type=_PALETTE, extra=extra)


def tiff(pixels: Pixels, *, pages: int = 1, extra_sample: int = 2) -> bytes:
    """An uncompressed little-endian TIFF; further pages are the first, inverted.

    ``extra_sample`` is the kind of a fourth or second channel: 2 alpha, 1 premultiplied alpha.
    """
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    channels = pixels.shape[2]
    photometric = tiff_files.MIN_IS_BLACK if channels < 3 else tiff_files.RGB
    extra = (extra_sample,) if channels in (2, 4) else None
    inverted = np.iinfo(pixels.dtype).max - pixels
    return tiff_files.write(
        *(
            tiff_files.Page(samples, photometric, extra)
            for samples in [pixels, *[inverted] * (pages - 1)]
        )
    )


def bmp_with_alpha(pixels: Pixels) -> bytes:
    """A 32-bit BMP with alpha bits in a version 4 header, which Pillow cannot write."""
    height, width = pixels.shape[:2]
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, 0, 2835, 2835, 0, 0)
    header = (header + struct.pack("<4I", *masks)).ljust(108, b"\0")
    data = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    size = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", size + len(data), 0, 0, size) + header + data


def icc_profile(primaries: tuple[tuple[float, float], ...], gamma: float) -> bytes:
    """A matrix profile (ICC.1 version 2) for RGB with these primaries and D65 white."""
    colorants = _adapted_to_d50(_primaries_to_xyz(primaries))
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
        b"rXYZ": _xyz(colorants[:, 0]),
        b"gXYZ": _xyz(colorants[:, 1]),
        b"bXYZ": _xyz(colorants[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content.ljust(-(-len(content) // 4) * 4, b"\0")
    header = struct.pack(">I4xI4s4s4s", offset + len(body), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp")
    header = header.ljust(68, b"\0") + _xyz((0.9642, 1.0, 0.8249))[8:]
    return header.ljust(128, b"\0") + table + body


def _xyz(values: Any) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in values))


def _primaries_to_xyz(primaries: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in primaries]).T
    white = np.array([0.95047, 1.0, 1.08883])
    scaled: NDArray[np.float64] = columns * np.linalg.solve(columns, white)
    return scaled


def _adapted_to_d50(xyz: NDArray[np.float64]) -> NDArray[np.float64]:
    # Bradford's matrix from D65 to D50 (ICC.1, annex E).
    bradford = np.array(
        [
            [1.0478112, 0.0228866, -0.0501270],
            [0.0295424, 0.9904844, -0.0170491],
            [-0.0092345, 0.0150436, 0.7521316],
        ]
    )
    adapted: NDArray[np.float64] = bradford @ xyz
    return adapted


def bombs() -> dict[str, bytes]:
    """Small files whose headers promise 50,000 × 50,000 pixels."""
    side = 50_000
    small = photo(16, 16)
    header = struct.pack(">IIBBBBB", side, side, 8, _RGB, 0, 0, 0)
    pixels = zlib.compress(bytes(10_000_000), 9)
    bomb_png = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
    bomb_png += png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    jpeg = bytearray(pillow(small, "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    bmp = bytearray(pillow(small, "BMP"))
    bmp[18:26] = struct.pack("<ii", side, side)
    gif = bytearray(pillow(Image.fromarray(small).quantize(8), "GIF"))
    gif[6:10] = struct.pack("<HH", side, side)
    frame = gif.index(b"\x2c" + struct.pack("<4H", 0, 0, 16, 16))
    gif[frame + 5 : frame + 9] = struct.pack("<HH", side, side)
    directory = bytearray(tiff(small))
    for tag in (256, 257):
        entry = directory.index(struct.pack("<HHI", tag, 4, 1))
        directory[entry + 8 : entry + 12] = struct.pack("<I", side)
    return {
        "bomb.png": bomb_png,
        "bomb.jpg": bytes(jpeg),
        "bomb.bmp": bytes(bmp),
        "bomb.gif": bytes(gif),
        "bomb.tif": bytes(directory),
    }


def truncated() -> dict[str, bytes]:
    """Good headers, but the second half of the pixels is missing."""
    pixels = photo(64, 64)
    whole = {
        "half.jpg": pillow(pixels, "JPEG", quality=90),
        "half-progressive.jpg": pillow(pixels, "JPEG", quality=90, progressive=True),
        "half.png": png(pixels),
        "half-16.png": png(photo(64, 64, depth=16)),
        "half.webp": pillow(pixels, "WEBP", lossless=True),
        "half.tif": tiff(pixels),
        "half-lzw.tif": pillow(pixels, "TIFF", compression="tiff_lzw"),
        "half.bmp": pillow(pixels, "BMP"),
        "half.gif": pillow(Image.fromarray(pixels).quantize(200), "GIF"),
    }
    return {name: data[: len(data) // 2] for name, data in whole.items()}


def not_images() -> dict[str, bytes]:
    """Files that are no image of an accepted format, despite their names."""
    return {
        "empty.jpg": b"",
        "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "page-with-spaces.jpg": b"\xef\xbb\xbf \n<HTML><body>moved</body></html>",
        "text.png": b"This is not an image.\n" * 10,
        "one-byte.png": b"\x89",
        "zeros.jpg": bytes(1000),
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "paper.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "samples.ppm": b"P6\n2 2\n255\n" + bytes(12),
        "photo.heic": struct.pack(">I", 24) + b"ftypheic" + bytes(12),
        "signature-only.png": b"\x89PNG\r\n\x1a\n",
        "signature-only.jpg": b"\xff\xd8\xff\xe0",
        "signature-only.tif": b"II*\0",
        "signature-only.gif": b"GIF89a",
        "signature-only.bmp": b"BM",
        "signature-only.webp": b"RIFF\x10\0\0\0WEBPVP8 ",
        "float.tif": pillow(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"),
    }


def bad_images() -> dict[str, bytes]:
    """Everything that must be rejected, by file name, under a limit of 100 million pixels."""
    return {**not_images(), **truncated(), **bombs()}


def write_all(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """The files in ``folder``, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in files]
    for path in paths:
        path.write_bytes(files[path.name])
    return paths

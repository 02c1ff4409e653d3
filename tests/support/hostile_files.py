"""Small files that try to cost much: of time, of memory, or of both.

Each is at most 1 MiB. Reading one must end within the bars of ``benchmarks/fuzz.py``, with pixels
or with a rejection.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.support import image_files, tiff_files

SIZE = 1 << 20
"""The most bytes of a file here."""
_SMALL = image_files.photo(16, 16)
_SIDE = 14_142  # of a square just below 200 megapixels


def _jpeg_with(inserted: bytes) -> bytes:
    jpeg = image_files.pillow(_SMALL, "JPEG")
    return jpeg[:2] + inserted + jpeg[2:]


def _filled(part: bytes, room: int = SIZE - 8192) -> bytes:
    return part * (room // len(part))


def segment(mark: int, content: bytes = b"") -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, mark, len(content) + 2) + content


def _jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose scans give nothing, but have to be gone through."""
    jpeg = bytearray(image_files.pillow(_SMALL, "JPEG", progressive=True))
    frame = jpeg.index(b"\xff\xc2")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    scan = segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + bytes(16)
    return bytes(jpeg[:-2]) + scan * scans + b"\xff\xd9"


def exif_of_overlaps(entries: int, total: int) -> bytes:
    """EXIF whose entries all claim the same bytes, nearly all of it."""
    table = 8 + 2 + 12 * entries + 4
    count = total - table
    claims = (struct.pack("<HHII", 0x9000 + n % 0x6000, 7, count, table) for n in range(entries))
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + b"".join(claims)).ljust(total, b"\0")


def flat_png(width: int, height: int, colour_type: int, bits: int, *, interlaced: bool) -> bytes:
    """A black PNG, whose pixels take about a thousandth of their size."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    row_bytes = 1 + (width * samples * bits + 7) // 8
    extra = height // 2 if interlaced else 0  # each pass has rows of its own
    pixels = deflated_zeros(row_bytes * (height + extra))
    chunks = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(image_files.png_chunk(*each) for each in chunks)


def png_with(*chunks: tuple[bytes, bytes], before_pixels: bool = True) -> bytes:
    """A small PNG with further chunks, which may have the same name."""
    png = image_files.png(_SMALL)
    at = 33 if before_pixels else png.index(b"IEND") - 4
    return png[:at] + b"".join(image_files.png_chunk(*each) for each in chunks) + png[at:]


def _turned(png: bytes) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return png[:33] + image_files.png_chunk(b"eXIf", exif.tobytes()[6:]) + png[33:]


def _with_gamma(png: bytes) -> bytes:
    gamma = image_files.png_chunk(b"gAMA", struct.pack(">I", 100_000))
    return png[:33] + gamma + png[33:]


def deflated_zeros(size: int) -> bytes:
    """A zlib stream of zeros: a block that depends on none before it, many times."""
    block_bytes = 1 << 24

    def block(size: int, flush: int) -> bytes:
        deflate = zlib.compressobj(9, wbits=-15)
        return deflate.compress(bytes(size)) + deflate.flush(flush)

    count, rest = divmod(size, block_bytes)
    body = block(block_bytes, zlib.Z_FULL_FLUSH) * count + block(rest, zlib.Z_FINISH)
    adler = size % 65_521 << 16 | 1
    return b"\x78\xda" + body + struct.pack(">I", adler)


def _text_bombs(name: bytes, prefix: bytes) -> bytes:
    bomb = image_files.png_chunk(name, prefix + deflated_zeros(20_000_000))
    return png_with(*[(name, prefix + deflated_zeros(20_000_000))] * (SIZE // len(bomb) - 1))


def _gif(screen: tuple[int, int], *blocks: bytes, palette: bool = True) -> bytes:
    flags = 0b10000000 if palette else 0
    colours = bytes([0, 0, 0, 255, 255, 255]) if palette else b""
    return b"GIF89a" + struct.pack("<HHBBB", *screen, flags, 0, 0) + colours + b"".join(blocks)


def _gif_pixels() -> bytes:
    """The compressed pixels of a small GIF of two colours."""
    gif = image_files.pillow(Image.new("1", (16, 16)).convert("P"), "GIF", optimize=False)
    return gif[gif.index(b"\x2c" + bytes(4)) + 10 : -1]


def _frame(width: int, height: int, data: bytes = b"\x02\x02\x44\x01\x00") -> bytes:
    return b"\x2c" + struct.pack("<4HB", 0, 0, width, height, 0) + data


def _with_elements(count: int) -> bytes:
    """A JPEG whose ICC profile has that many processing elements, all of the same bytes."""
    function = b"parf" + bytes(4) + struct.pack(">HH4f", 0, 0, 1.0001, 1, 0, 0)
    curve = b"curf" + bytes(4) + struct.pack(">HH", 1, 0) + function
    element = b"cvst" + bytes(4) + struct.pack(">HH", 3, 3)
    element += struct.pack(">II", 36, len(curve)) * 3 + curve
    element = element.ljust(-(-len(element) // 4) * 4, b"\0")
    body = b"mpet" + bytes(4) + struct.pack(">HHI", 3, 3, count)
    body += struct.pack(">II", len(body) + 8 * count, len(element)) * count + element
    profile = image_files.icc_profile(image_files.ADOBE_RGB, 2.2)
    table, rest = bytearray(profile[132:240]), profile[240:]  # nine tags
    for at in range(4, len(table), 12):
        struct.pack_into(">I", table, at, struct.unpack_from(">I", table, at)[0] + 24)
    start = 132 + len(table) + 24 + len(rest)
    for name in (b"D2B0", b"D2B1"):
        table += name + struct.pack(">II", start, len(body))
    size = struct.pack(">I", start + len(body))
    head = size + profile[4:8] + bytes([4, 0x30, 0, 0]) + profile[12:128]
    profile = head + struct.pack(">I", 11) + bytes(table) + rest + body
    return image_files.pillow(_SMALL, "JPEG", icc_profile=profile)


def flat_gif(side: int) -> bytes:
    """A GIF of one colour, which Pillow compresses well."""
    return image_files.pillow(Image.new("P", (side, side)), "GIF", optimize=False)


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
        for name, content in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _canvas(flags: int, width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes([flags, 0, 0, 0]) + sides


def _webp_bits(lossless: bool) -> tuple[bytes, bytes]:
    """Name and content of the chunk of a small WebP's pixels."""
    webp = image_files.pillow(_SMALL, "WEBP", lossless=lossless)
    return webp[12:16], webp[20 : 20 + struct.unpack("<I", webp[16:20])[0]]


def _webp_of_frames() -> bytes:
    tiny = image_files.pillow(np.zeros((1, 1, 3), np.uint8), "WEBP", lossless=True)[12:]
    frame = bytes(6) + bytes(6) + bytes(4) + tiny
    packed = b"ANMF" + struct.pack("<I", len(frame)) + frame
    count = (SIZE - 8192) // len(packed)
    frames = [(b"ANMF", frame)] * count
    return _riff((b"VP8X", _canvas(2, 16_000, 12_000)), (b"ANIM", bytes(6)), *frames)


def _webp_of_chunks() -> bytes:
    return _riff(
        (b"VP8X", _canvas(0, 16, 16)), _webp_bits(lossless=True), *[(b"junk", b"")] * 130_000
    )


def _webp_with_exif() -> bytes:
    exif = exif_of_overlaps(20_000, SIZE - 8192)
    return _riff((b"VP8X", _canvas(8, 16, 16)), _webp_bits(lossless=True), (b"EXIF", exif))


def flat_webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: its bits say nothing, however many pixels there are.

    The header, then five Huffman codes of one symbol each, which take no bits.
    """
    bits: list[tuple[int, int]] = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3)]
    bits += [(0, 1), (0, 1), (0, 1)]  # no transform, no cache of colours, no meta codes
    bits += [(1, 1), (0, 1), (0, 1), (0, 1)] * 5  # simple, one symbol, of one bit, zero
    value, length = 0, 0
    for number, width_of_it in bits:
        value |= number << length
        length += width_of_it
    return _riff((b"VP8L", value.to_bytes(-(-length // 8) + 8, "little")))


def _tiff_of_directories(count: int, tags: int = 0) -> bytes:
    """Directories of one pixel each, with further tags, whose pixel and tags are the same bytes."""
    more: dict[int, tuple[int, tuple[int, ...]]] = {40_000 + n: (4, (n,)) for n in range(tags)}
    first = tiff_files.write(tiff_files.Page(_SMALL[:1, :1], tags=more))
    (entries,) = struct.unpack_from("<H", first, 8)
    directory = first[8 : 8 + 2 + 12 * entries]
    out, start = [first[:4] + struct.pack("<I", len(first)) + first[8:]], len(first)
    for number in range(count):
        start += len(directory) + 4
        out.append(directory + struct.pack("<I", start if number + 1 < count else 0))
    return b"".join(out)


def _tiff_with(**changes: int) -> bytes:
    """A small TIFF with other values of some tags: width, height, rows, tile, length."""
    numbers = {"width": 256, "height": 257, "rows": 278, "tile": 322, "length": 323}
    tags: dict[int, tuple[int, tuple[int, ...]]] = {}
    tags.update({numbers[name]: (4, (value,)) for name, value in changes.items()})
    return tiff_files.write(
        tiff_files.Page(_SMALL, tile=16 if "tile" in changes else None, tags=tags)
    )


def _tiff_of_narrow_tiles(count: int) -> bytes:
    """Tiles side by side, all of the same bytes."""
    row = np.broadcast_to(_SMALL[:, :1], (16, 16 * count, 3))
    tags: dict[int, tuple[int, tuple[int, ...]]] = {
        324: (4, (tiff_files.OFFSET_OF_DATA,) * count),
        325: (4, (tiff_files.SIZE_OF_DATA,) * count),
    }
    data = zlib.compress(_SMALL.tobytes())
    return tiff_files.write(tiff_files.Page(row, tile=16, data=data, compression=8, tags=tags))


def _tiff_of_tags(count: int) -> bytes:
    tags: dict[int, tuple[int, tuple[int, ...]]] = {40_000 + n: (4, (n,)) for n in range(count)}
    return tiff_files.write(tiff_files.Page(_SMALL, tags=tags))


def flat_tiff(
    width: int, height: int, channels: int, bits: int, compression: str, *, planar: bool = False
) -> bytes:
    """A black TIFF of one strip."""
    rows = np.zeros((1, width, channels), np.uint8 if bits == 8 else np.uint16)
    whole = np.broadcast_to(rows, (height, width, channels))
    if compression == "deflate":
        data = deflated_zeros(height * rows.nbytes)
        code = 8
    else:
        data, code = flat_lzw(height * rows.nbytes), 5
    photometric = tiff_files.RGB if channels >= 3 else tiff_files.MIN_IS_BLACK
    extra = (2,) if channels in (2, 4) else None
    page = tiff_files.Page(whole, photometric, extra, compression=code, data=data, planar=planar)
    return tiff_files.write(page)


def flat_lzw(size: int) -> bytes:
    """TIFF's LZW of zeros: each code stands for one byte more than the one before."""
    value, filled = 0, 0
    out = bytearray()

    def put(code: int, width: int) -> None:
        nonlocal value, filled
        value = value << width | code
        filled += width
        while filled >= 8:
            filled -= 8
            out.append(value >> filled & 0xFF)
        value &= (1 << filled) - 1

    done = 0
    while done < size:
        put(256, 9)
        following = 258
        put(0, 9)
        done, run = done + 1, 1
        while done < size and following < 4094:
            run = min(run + 1, size - done)
            width = 9 + (following >= 511) + (following >= 1023) + (following >= 2047)
            put(following if run > 1 else 0, width)
            done, following = done + run, following + 1
        width = 9 + (following >= 511) + (following >= 1023) + (following >= 2047)
        if done >= size:
            put(257, width)
        else:
            put(256, width)
            # The next round puts its own code to clear, of 9 bits.
    return bytes(out) + bytes([value << (8 - filled) & 0xFF] if filled else [])


def _bmp(width: int, height: int, bits: int, compression: int, data: bytes) -> bytes:
    palette = bytes(4 << bits) if bits <= 8 else b""
    at = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", at + len(data), 0, 0, at) + header + palette + data


def _png_chunks(count: int, name: bytes, content: bytes = b"") -> bytes:
    return png_with(*[(name, content)] * count)


def _png_of_pixel_chunks(count: int) -> bytes:
    png = image_files.png(_SMALL)
    at = png.index(b"IDAT") - 4
    return png[:at] + image_files.png_chunk(b"IDAT", b"") * count + png[at:]


HOSTILE: dict[str, Callable[[], bytes]] = {
    "exif-segments.jpg": lambda: _jpeg_with(_filled(segment(0xE1, b"Exif\0\0" + bytes(8)))),
    "xmp-segments.jpg": lambda: _jpeg_with(
        _filled(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(8)))
    ),
    "icc-segments.jpg": lambda: _jpeg_with(_filled(segment(0xE2, b"ICC_PROFILE\0\x01\x01 "))),
    "empty-segments.jpg": lambda: _jpeg_with(_filled(segment(0xEF))),
    "comments.jpg": lambda: _jpeg_with(_filled(segment(0xFE))),
    "tables.jpg": lambda: _jpeg_with(_filled(segment(0xDB, b"\0" + b"\1" * 64))),
    "fill.jpg": lambda: _jpeg_with(_filled(b"\xff")),
    "junk.jpg": lambda: _jpeg_with(_filled(b"\0")),
    "exif-overlaps.jpg": lambda: _jpeg_with(
        segment(0xE1, b"Exif\0\0" + exif_of_overlaps(5_000, 65_500))
    ),
    "scans-60.jpg": lambda: _jpeg_of_scans(_SIDE, _SIDE, 60),
    "scans-20000.jpg": lambda: _jpeg_of_scans(16, 16, 20_000),
    "scans-large-20000.jpg": lambda: _jpeg_of_scans(_SIDE, _SIDE, 20_000),
    "profile-elements-8.jpg": lambda: _with_elements(8),
    "profile-elements.jpg": lambda: _with_elements(1_000),
    "deep-colour.png": lambda: _with_gamma(flat_png(11_000, 11_000, 2, 16, interlaced=False)),
    "turned.png": lambda: _turned(flat_png(_SIDE, _SIDE, 2, 8, interlaced=False)),
    "text-chunks.png": lambda: _png_chunks(60_000, b"tEXt", b"a\0b"),
    "empty-chunks.png": lambda: _png_chunks(80_000, b"juNk"),
    "pixel-chunks.png": lambda: _png_of_pixel_chunks(80_000),
    "frames.png": lambda: _png_chunks(20_000, b"fcTL", bytes(26)),
    "ztxt.png": lambda: _text_bombs(b"zTXt", b"a\0\0"),
    "itxt.png": lambda: _text_bombs(b"iTXt", b"a\0\1\0\0\0"),
    "iccp.png": lambda: png_with((b"iCCP", b"a\0\0" + deflated_zeros(900_000_000))),
    "ztxt-after.png": lambda: png_with(
        *[(b"zTXt", b"a\0\0" + deflated_zeros(20_000_000))] * 40, before_pixels=False
    ),
    "exif-overlaps.png": lambda: png_with((b"eXIf", exif_of_overlaps(20_000, SIZE - 8192))),
    "palettes.png": lambda: _png_chunks(30_000, b"sPLT", b"a\0\x08" + bytes(6)),
    "interlaced.png": lambda: flat_png(13_000, 13_000, 6, 8, interlaced=True),
    "deep.png": lambda: flat_png(_SIDE // 2, 17_000, 6, 16, interlaced=False),
    "tall.png": lambda: flat_png(1, 1_000_000, 2, 8, interlaced=False),
    "taller.png": lambda: flat_png(1, 5_000_000, 0, 8, interlaced=False),
    "wide.png": lambda: flat_png(1_000_000, 1, 2, 8, interlaced=False),
    "wider.png": lambda: flat_png(100_000_000, 1, 2, 8, interlaced=False),
    "tall-palette.png": lambda: flat_png(1, 1_000_000, 0, 1, interlaced=True),
    "no-pixels.gif": lambda: _gif((_SIDE, _SIDE), _frame(_SIDE, _SIDE), b";"),
    "flat.gif": lambda: flat_gif(_SIDE),
    "comments.gif": lambda: _gif(
        (16, 16), _filled(b"\x21\xfe\x01A\0"), _frame(16, 16, _gif_pixels()), b";"
    ),
    "extensions.gif": lambda: _gif(
        (16, 16), _filled(b"\x21\x01\0"), _frame(16, 16, _gif_pixels()), b";"
    ),
    "long-comment.gif": lambda: _gif(
        (16, 16), b"\x21\xfe", _filled(b"\x01A"), b"\0", _frame(16, 16, _gif_pixels()), b";"
    ),
    "pieces.gif": lambda: _gif(
        (16, 16), _frame(16, 16, b"\x02" + _filled(b"\x01\0") + b"\0"), b";"
    ),
    "frames.gif": lambda: _gif((_SIDE, _SIDE), _filled(_frame(1, 1)), b";"),
    "junk.gif": lambda: _gif((16, 16), _filled(b"\1"), _frame(16, 16, _gif_pixels()), b";"),
    "tall.gif": lambda: _gif((3_000, 65_535), _frame(3_000, 65_535), b";"),
    "chunks.webp": _webp_of_chunks,
    "frames.webp": _webp_of_frames,
    "exif-overlaps.webp": _webp_with_exif,
    "flat.webp": lambda: flat_webp(16_383, 12_200),
    "directories.tif": lambda: _tiff_of_directories(7_000),
    "directories-of-tags.tif": lambda: _tiff_of_directories(160, 500),
    "tags.tif": lambda: _tiff_of_tags(4_000),
    "directories-of-many-tags.tif": lambda: _tiff_of_directories(20, 4_000),
    "tall-strips.tif": lambda: _tiff_with(width=1, height=190_000_000, rows=1),
    "huge-tile.tif": lambda: _tiff_with(tile=65_536, length=65_536),
    "tiny-tiles.tif": lambda: _tiff_with(width=_SIDE, height=_SIDE, tile=16, length=16),
    "narrow-tiles.tif": lambda: _tiff_of_narrow_tiles(62_500),
    "tiles.tif": lambda: _tiff_of_narrow_tiles(4_096),
    "no-pixels.tif": lambda: _tiff_with(width=_SIDE, height=_SIDE, rows=_SIDE),
    "flat-deflate.tif": lambda: flat_tiff(_SIDE, _SIDE, 4, 8, "deflate"),
    "flat-deflate-planar.tif": lambda: flat_tiff(_SIDE, _SIDE, 3, 8, "deflate", planar=True),
    "flat-lzw.tif": lambda: flat_tiff(12_000, 12_000, 4, 16, "lzw"),
    "flat-lzw-8.tif": lambda: flat_tiff(_SIDE, _SIDE, 3, 8, "lzw"),
    "run-lengths.bmp": lambda: _bmp(_SIDE, _SIDE, 8, 1, b"\1\0\0\0" * _SIDE + b"\0\1"),
    "run-lengths-4.bmp": lambda: _bmp(_SIDE, _SIDE, 4, 2, _filled(b"\xff\x11")),
    "no-lines.bmp": lambda: _bmp(_SIDE, _SIDE, 8, 1, _filled(b"\0\0")),
    "jumps.bmp": lambda: _bmp(190_000_000, 1, 8, 1, _filled(b"\0\2\xff\xff")),
    "no-pixels.bmp": lambda: _bmp(_SIDE, _SIDE, 24, 0, b""),
    "tall.bmp": lambda: _bmp(1, 190_000_000, 1, 0, b""),
}
"""Files by name; making one may take seconds."""

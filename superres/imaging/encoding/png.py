"""The chunks of a PNG that say what its metadata says."""

import struct
import zlib
from collections.abc import Iterator

from superres.imaging.encoding.jpeg import photoshop_resource
from superres.imaging.metadata.model import Metadata

_PERCEPTUAL = b"\0"  # sRGB's rendering intent
_METRES_PER_INCH = 0.0254


def metadata_chunks(metadata: Metadata, profile: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Names and contents of the chunks before the pixels; without a profile they say sRGB.

    IPTC has no chunk of its own: ImageMagick's text "Raw profile type iptc" is what programs read.
    """
    if profile is None:
        yield b"sRGB", _PERCEPTUAL
    else:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(profile)
    if metadata.density:
        x, y = (round(each / _METRES_PER_INCH) for each in metadata.density)
        yield b"pHYs", struct.pack(">IIB", x, y, 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp
    if metadata.iptc:
        resource = photoshop_resource(metadata.iptc)
        lines = "\n".join(_lines(resource.hex()))
        text = f"\niptc\n{len(resource):8}\n{lines}\n"
        yield b"zTXt", b"Raw profile type iptc\0\0" + zlib.compress(text.encode())


def _lines(digits: str, length: int = 72) -> Iterator[str]:
    for start in range(0, len(digits), length):
        yield digits[start : start + length]

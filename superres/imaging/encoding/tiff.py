"""Encodes strips as TIFF, with about a megabyte of rows in memory at a time.

The directory comes first, with room for where the strips will be, and is written again when that is
known. Pillow puts directories together, with those of EXIF and GPS below; ISA-L deflates the rows,
each sample less its left neighbour (predictor 2). Every reader opens Deflate; Zstandard is 5 %
smaller, but Photoshop, macOS and Windows do not read it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from superres.imaging.colour import Planes
from superres.imaging.info import ImageInfo
from superres.imaging.metadata.model import Metadata
from superres.imaging.rows import interleaved
from superres.imaging.whole_file import WholeFile

_BLOCK_BYTES = 1 << 20
_CLASSIC_BYTES = 2**32 - (64 << 20)
"""Above this, offsets of 32 bits may not reach the end; what is kept free is for metadata."""
_LEVEL = 1  # ISA-L's; above, a photograph gets hardly smaller

_BYTE, _SHORT, _LONG, _UNDEFINED, _LONG8 = 1, 3, 4, 7, 16
_GREY, _RGB = 1, 2
_DEFLATE, _HORIZONTAL, _INTERLEAVED, _INCH = 8, 2, 1, 2
_UNASSOCIATED_ALPHA = 2
_OFFSETS, _SIZES = 273, 279
_XMP, _IPTC, _ICC = 700, 33723, 34675
# Tags of EXIF's first directory that describe the picture rather than how it is stored.
_DESCRIPTIVE = frozenset(
    [
        *(269, 270, 271, 272, 285, 305, 306, 315, 316, 318, 319, 529, 532, 18246, 18249, 33432),
        *(40091, 40092, 40093, 40094, 40095, 37510, 36867, 36868),
        *(IFD.Exif, IFD.GPSInfo),
    ]
)


def encode_tiff(
    strips: Iterable[Planes],
    info: ImageInfo,
    file: WholeFile,
    metadata: Metadata,
    profile: bytes,
) -> None:
    """Writes strips to ``file``: 8 or 16 bits, grey or RGB, perhaps with alpha.

    Above 4 GiB of samples it is a BigTIFF, or where the metadata is that of one.

    Raises:
        ValueError: the strips do not fit ``info``.
        StorageError: the file cannot be written.
        Exception: an exception of the iterator of strips, unchanged.
    """
    row_bytes = info.width * info.channels * info.dtype.itemsize
    rows = min(info.height, max(1, _BLOCK_BYTES // row_bytes))
    count = -(-info.height // rows)
    is_big = metadata.is_big or row_bytes * info.height > _CLASSIC_BYTES
    directory = _Directory(is_big, _tags(info, rows, metadata, profile))
    file.write(directory.content([0] * count, [0] * count))
    sizes = []
    for block in interleaved(strips, info, rows, byte_order="<"):
        deflated = isal_zlib.compress(_predicted(block), _LEVEL)
        file.write(deflated)
        sizes.append(len(deflated))
    file.seek(0)
    file.write(directory.content([0, *np.cumsum(sizes[:-1]).tolist()], sizes))


def _predicted(block: NDArray[Any]) -> NDArray[Any]:
    """Each sample less its left neighbour of the same channel, modulo its range."""
    predicted = block.copy()
    np.subtract(block[:, 1:], block[:, :-1], out=predicted[:, 1:])
    return predicted


class _Directory:
    """The header of a TIFF and its only directory, little-endian."""

    def __init__(self, is_big: bool, tags: dict[int, tuple[int | None, Any]]) -> None:
        version = b"\x2b\0\x08\0\0\0\x10\0\0\0\0\0\0\0" if is_big else b"\x2a\0\x08\0\0\0"
        self._header = b"II" + version
        self._offset_type = _LONG8 if is_big else _LONG
        self._directory = ImageFileDirectory_v2(self._header[:8])
        for tag, (kind, value) in tags.items():
            self._set(tag, kind, value)

    def content(self, starts: list[int], sizes: list[int]) -> bytes:
        """The bytes, as many for any numbers; ``starts`` count from the end of the directory."""
        self._set(_OFFSETS, self._offset_type, tuple(starts))
        self._set(_SIZES, self._offset_type, tuple(sizes))
        # Pillow adds the length of the directory to the offsets of strips.
        return self._header + self._directory.tobytes(len(self._header))

    def _set(self, tag: int, kind: int | None, value: Any) -> None:
        if kind is not None:
            self._directory.tagtype[tag] = kind
        self._directory[tag] = value


def _tags(
    info: ImageInfo, rows: int, metadata: Metadata, profile: bytes
) -> dict[int, tuple[int | None, Any]]:
    """Type and value of each tag but those of the strips; without a type, Pillow knows it."""
    tags: dict[int, tuple[int | None, Any]] = dict(_described(metadata.exif))
    tags |= {
        256: (_LONG, info.width),
        257: (_LONG, info.height),
        258: (_SHORT, (info.bit_depth,) * info.channels),
        259: (_SHORT, _DEFLATE),
        262: (_SHORT, _GREY if info.colours == 1 else _RGB),
        277: (_SHORT, info.channels),
        278: (_LONG, rows),
        284: (_SHORT, _INTERLEAVED),
        317: (_SHORT, _HORIZONTAL),
        _ICC: (_UNDEFINED, profile),
    }
    if info.has_alpha:
        tags[338] = (_SHORT, _UNASSOCIATED_ALPHA)
    if metadata.density:
        x, y = metadata.density
        tags |= {282: (None, x), 283: (None, y), 296: (_SHORT, _INCH)}
    if metadata.xmp:
        tags[_XMP] = (_BYTE, metadata.xmp)
    if metadata.iptc:
        tags[_IPTC] = (_UNDEFINED, metadata.iptc)
    return tags | dict(metadata.geo or {})


def _described(exif: bytes | None) -> dict[int, tuple[int | None, Any]]:
    """What EXIF says, as tags: its own directory and that of GPS hang below, as it wants it."""
    if exif is None:
        return {}
    image = Image.Exif()
    image.load(exif)
    tags: dict[int, tuple[int | None, Any]] = {
        tag: (None, image[tag]) for tag in image if tag in _DESCRIPTIVE
    }
    for tag in (IFD.Exif, IFD.GPSInfo):
        if tag in tags:
            tags[tag] = (_LONG, _with_interoperability(image, tag))
    return tags


def _with_interoperability(image: Image.Exif, tag: IFD) -> dict[int, Any]:
    directory = dict(image.get_ifd(tag))
    if tag == IFD.Exif and IFD.Interop in directory:
        directory[IFD.Interop] = dict(image.get_ifd(IFD.Interop))
    return directory

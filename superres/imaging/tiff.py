"""What the directories of a TIFF say: its pages, the page to take, and who can decode it.

libvips shows some kinds of TIFF wrongly without a word (YCbCr without JPEG becomes false colours,
unspecified channels become alpha), reads others not at all, and starts with a thumbnail if that
comes first. So the directories are read here first, and they select the page and the decoder, or
name what is unusual and what to do about it. Nothing but directories is read.
"""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO

from superres.errors import ImageRejectedError
from superres.imaging.outline import DEEP_COLOUR_PASSES, MOST_PAGES, Outline

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _PLANAR, _EXTRA_SAMPLES, _SAMPLE_FORMAT = 277, 284, 338, 339
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _SUB_IFDS, _PROFILE = 254, 255, 330, 34675
_READ_TAGS = frozenset(
    (
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANAR),
        *(_EXTRA_SAMPLES, _SAMPLE_FORMAT, _TILE_WIDTH, _TILE_HEIGHT),
        *(_NEW_SUBFILE_TYPE, _SUBFILE_TYPE, _SUB_IFDS, _PROFILE),
    )
)
# BYTE, SHORT, LONG, UNDEFINED, IFD, 64 bits
_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_MOST_VALUES = 64  # of one tag; more samples a pixel than that are rejected anyway
_HELD_BY_PILLOW = 8  # bytes of a pixel, and as many again while colours are converted
_KEPT_ROWS_OF_TILES = 2
_MOST_TILES_ACROSS = 4_096  # libvips takes time by the square of them
# libtiff takes time by the square of a directory's tags that it does not know.
_MOST_TAGS = 512
_MOST_TAGS_OF_ALL = 300_000
# Beyond twice the size of the file: values of several tags may be the same bytes, and libtiff reads
# them once for each.
_MOST_VALUE_BYTES = 64 << 20
_VALUE_BYTES = {
    **dict.fromkeys((1, 2, 6, 7), 1),
    **dict.fromkeys((3, 8), 2),
    **dict.fromkeys((4, 9, 11, 13), 4),
    **dict.fromkeys((5, 10, 12, 16, 17, 18), 8),
}

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS_OF = {
    _MIN_IS_WHITE: 1,
    _MIN_IS_BLACK: 1,
    _RGB: 3,
    _PALETTE: 1,
    _CMYK: 4,
    _YCBCR: 3,
    _LAB: 3,
}
_CAMERA_RAW = (32803, 34892)
_UNSPECIFIED, _PREMULTIPLIED, _ALPHA, _COREL_ALPHA = 0, 1, 2, 999

_JPEG = 7
_BY_LIBVIPS = frozenset([1, 2, 3, 4, 5, _JPEG, 8, 32771, 32773, 32946])
_BY_PILLOW = frozenset([6, 34925, 50000])
_CODECS = {
    6: "old-style JPEG",
    32766: "NeXT RLE",
    32809: "ThunderScan",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "SGI LogLuv",
    34677: "SGI LogLuv",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "Zstandard",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_SAMPLE_FORMATS = {2: "signed integers", 3: "floating-point numbers", 6: "complex numbers"}
_RESCALE = "scale the values to 8 or 16 bits without sign (gdal_translate -scale -ot UInt16)"
_RESAVE = "save it as grey or RGB of 8 or 16 bits, with LZW or Deflate"


class Decoder(Enum):
    """Who decodes a page."""

    LIBVIPS = "libvips"
    PILLOW = "Pillow"


@dataclass(frozen=True)
class Page:
    """One directory of a TIFF.

    Attributes:
        width: in pixels, before the orientation is applied.
        height: likewise.
        bits: of each sample of a pixel.
        compression: TIFF's code.
        photometric: TIFF's code.
        sample_formats: TIFF's codes; 1 is an unsigned integer.
        extra_samples: TIFF's codes of the samples that are no colour; None if they are not given.
        planar: one channel is stored behind the other, not interleaved.
        tile: width and height of a tile; None if it is stored in strips.
        reduced: a smaller copy of another page, or a mask.
        has_sub_images: other images hang below this directory.
        has_profile: there is an ICC profile.
    """

    width: int
    height: int
    bits: tuple[int, ...]
    compression: int
    photometric: int
    sample_formats: tuple[int, ...]
    extra_samples: tuple[int, ...] | None
    planar: bool
    tile: tuple[int, int] | None
    reduced: bool
    has_sub_images: bool
    has_profile: bool

    @property
    def tiled(self) -> bool:
        """Stored in tiles, not strips."""
        return self.tile is not None

    @property
    def outline(self) -> Outline:
        """Its size, and what decoding it costs."""
        channels = 1 if self.photometric in (_MIN_IS_WHITE, _MIN_IS_BLACK) else 3
        depth = 1 if max(self.bits) <= 8 else 2
        return Outline(
            self.width,
            self.height,
            pixel_bytes=(channels + (self.alpha is not None)) * depth,
            held_bytes=self._held_bytes,
            passes=DEEP_COLOUR_PASSES if depth == 2 and self._is_converted else 1,
        )

    @property
    def unused_samples(self) -> int:
        """How many samples of a pixel are neither colour nor alpha."""
        return self.extra_count - (self.alpha is not None)

    @property
    def alpha(self) -> int | None:
        """Which of the extra samples is alpha, from 0.

        ExtraSamples 0 is unspecified data, as near infrared is, and no alpha (TIFF 6.0). A single
        extra sample without any ExtraSamples is alpha: older programs write it so.
        """
        if self.extra_samples is None:
            return 0 if self.extra_count == 1 else None
        kinds = self.extra_samples[: self.extra_count]
        alphas = (_PREMULTIPLIED, _ALPHA, _COREL_ALPHA)
        return next((place for place, kind in enumerate(kinds) if kind in alphas), None)

    @property
    def decoder(self) -> Decoder:
        """Who decodes this page right, if ``objection`` is None."""
        return Decoder.PILLOW if self._peculiarity else Decoder.LIBVIPS

    @property
    def objection(self) -> str | None:
        """What keeps this page from being decoded, with the remedy; None if nothing does."""
        return (
            self._objection_to_tiles()
            or self._objection_to_photometric()
            or self._objection_to_samples()
            or self._objection_to_codec()
            or self._objection_to_depth()
        )

    @property
    def extra_count(self) -> int:
        """How many samples of a pixel are no colour."""
        return len(self.bits) - _COLOURS_OF.get(self.photometric, 0)

    @property
    def _is_converted(self) -> bool:
        """Whether its colours are converted to sRGB."""
        return self.has_profile or self.photometric == _LAB

    @property
    def _held_bytes(self) -> float:
        """Bytes of a pixel of the whole image that its decoder keeps."""
        if self.decoder is Decoder.PILLOW:
            return _HELD_BY_PILLOW
        if self.tile is None:
            return 0
        # libvips keeps a row of tiles, and unpacks each of its tiles.
        across, down = self.tile
        kept = -(-self.width // across) * across * down
        sample_bytes = len(self.bits) * (1 if max(self.bits) <= 8 else 2)
        return _KEPT_ROWS_OF_TILES * sample_bytes * kept / (self.width * self.height)

    @property
    def _peculiarity(self) -> str | None:
        """What keeps libvips from decoding this page right."""
        if self.compression in _BY_PILLOW:
            return _CODECS[self.compression]
        if self.photometric == _YCBCR and self.compression != _JPEG:
            return "YCbCr without JPEG"
        if self.photometric == _LAB and self.bits[0] == 8:
            return "CIE Lab"
        if self.bits[0] == 12:
            return "12 bits"
        if self.planar and (self.tiled or self._is_grey_and_more):
            return "separate planes"
        return None

    @property
    def _is_grey_and_more(self) -> bool:
        return _COLOURS_OF.get(self.photometric) == 1 and self.extra_count > 0

    def _objection_to_tiles(self) -> str | None:
        if self.tile is not None and -(-self.width // self.tile[0]) > _MOST_TILES_ACROSS:
            return f"has tiles of {self.tile[0]} pixels, too narrow for {self.width:,}; {_RESAVE}"
        return None

    def _objection_to_photometric(self) -> str | None:
        if self.photometric in _CAMERA_RAW or (self.reduced and self.has_sub_images):
            return "is a camera's raw file; develop it to JPEG, TIFF or PNG first"
        if self.photometric not in _COLOURS_OF:
            return f"has photometric interpretation {self.photometric}; {_RESAVE}"
        return None

    def _objection_to_samples(self) -> str | None:
        unusual = [kind for kind in self.sample_formats if kind != 1]
        if unusual:
            name = _SAMPLE_FORMATS.get(unusual[0], f"samples of format {unusual[0]}")
            return f"holds {self.bits[0]}-bit {name}; {_RESCALE}"
        extra = self.extra_count
        if extra < 0 or (self.extra_samples is None and extra > 1):
            return f"has {len(self.bits)} channels without saying of what; {_RESAVE}"
        if self.extra_samples and _PREMULTIPLIED in self.extra_samples and extra > 1:
            return "has channels beside a premultiplied alpha; save it with one alpha channel"
        if self.planar and self._is_grey_and_more and any(self.extra_samples or (_ALPHA,)):
            return "has grey and alpha in separate planes; save it with interleaved channels"
        return None

    def _objection_to_codec(self) -> str | None:
        if self.compression in _BY_LIBVIPS | _BY_PILLOW:
            return None
        name = _CODECS.get(self.compression, f"code {self.compression}")
        return f"is compressed with {name}, which is not read; {_RESAVE}"

    def _objection_to_depth(self) -> str | None:
        grey = len(self.bits) == 1 and self.photometric == _MIN_IS_BLACK
        depths = set(self.bits)
        if not (depths <= {1, 2, 4, 8, 16} and len(depths) == 1) and not (grey and depths == {12}):
            listed = ", ".join(str(bits) for bits in sorted(depths))
            return f"has {listed} bits a sample; {_RESCALE if max(depths) > 16 else _RESAVE}"
        if self._peculiarity and depths == {16} and not grey:
            # Pillow would reduce these to 8 bits.
            return f"has 16 bits a sample with {self._peculiarity}, which is not read; {_RESAVE}"
        return None


def read_pages(stream: BinaryIO) -> list[Page]:
    """The pages in the order of the file; those behind damage are left out.

    Raises:
        ValueError: the first directory is damaged.
        ImageRejectedError: there are more directories, tags or values than any honest file has.
    """
    pages = list(_pages(stream))
    if not pages:
        raise ValueError("the first directory is damaged")
    return pages


def read_outline(stream: BinaryIO) -> Outline:
    """Size and costs of the first page that is no small copy; later pages are not read.

    Raises:
        ValueError: the first directory is damaged.
        ImageRejectedError: as ``read_pages``, or no decoder reads that page.
    """
    pages = []
    for page in _pages(stream):
        pages.append(page)
        if not page.reduced:
            break
    if not pages:
        raise ValueError("the first directory is damaged")
    return pages[choose(pages, None)].outline


def _pages(stream: BinaryIO) -> Iterator[Page]:
    with suppress(struct.error, OSError, OverflowError, ValueError, KeyError):
        for tags in _directories(stream):
            yield _page(tags)


def choose(pages: list[Page], wanted: int | None) -> int:
    """The index of the page to take: the wanted one, from 1, or the first that is no small copy.

    Raises:
        ImageRejectedError: no decoder reads that page.
    """
    full = [index for index, page in enumerate(pages) if not page.reduced]
    index = (full or [0])[0] if wanted is None else wanted - 1
    objection = pages[index].objection
    if objection:
        which = f"page {index + 1} of the TIFF" if len(pages) > 1 else "the TIFF"
        raise ImageRejectedError(f"{which} {objection}")
    return index


def _tile(tags: Mapping[int, tuple[int, ...]]) -> tuple[int, int] | None:
    if _TILE_WIDTH not in tags:
        return None
    across, down = (tags.get(tag, (0,))[0] for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    if not (across and down):
        raise ValueError("tiles without a size")
    return across, down


def _page(tags: Mapping[int, tuple[int, ...]]) -> Page:
    bits = tags.get(_BITS, (1,))
    samples = tags.get(_SAMPLES, (len(bits),))[0]
    if not 1 <= samples <= _MOST_VALUES:
        raise ValueError(f"{samples} samples a pixel")
    width, height = tags[_WIDTH][0], tags[_HEIGHT][0]
    if not (width and height):
        raise ValueError("no pixels")
    compression = tags.get(_COMPRESSION, (1,))[0]
    subfile_type = tags.get(_NEW_SUBFILE_TYPE, (0,))[0]
    return Page(
        width=width,
        height=height,
        # Some files give one value for all samples, or one too many.
        bits=(bits + bits[-1:] * samples)[:samples],
        compression=compression,
        photometric=tags.get(_PHOTOMETRIC, (_MIN_IS_WHITE if compression != 6 else _YCBCR,))[0],
        sample_formats=tags.get(_SAMPLE_FORMAT, (1,)),
        extra_samples=tags.get(_EXTRA_SAMPLES),
        planar=samples > 1 and tags.get(_PLANAR, (1,))[0] == 2,
        tile=_tile(tags),
        # Bit 0 is a reduced copy, bit 2 a transparency mask; the older tag has 2 for a copy.
        reduced=bool(subfile_type & 0b101) or tags.get(_SUBFILE_TYPE, (1,))[0] == 2,
        has_sub_images=_SUB_IFDS in tags,
        has_profile=_PROFILE in tags,
    )


@dataclass(frozen=True)
class _Layout:
    """How directories are written: byte order, and sizes of classic TIFF or BigTIFF."""

    order: str
    count: str
    entry: str
    offset: str

    @property
    def entry_bytes(self) -> int:
        """Size of a tag in a directory."""
        return struct.calcsize(self.order + self.entry)

    def read(self, stream: BinaryIO, code: str) -> tuple[int, ...]:
        code = self.order + code
        return struct.unpack(code, stream.read(struct.calcsize(code)))


def _directories(stream: BinaryIO) -> Iterator[Mapping[int, tuple[int, ...]]]:
    """The tags that matter of each directory, with their values."""
    head = stream.read(4)
    order = "<" if head[:2] == b"II" else ">"
    if b"+" in head:
        layout = _Layout(order, count="Q", entry="HHQ8s", offset="Q")
    else:
        layout = _Layout(order, count="H", entry="HHI4s", offset="I")
    tally = _Tally(2 * stream.seek(0, os.SEEK_END) + _MOST_VALUE_BYTES)
    following, seen = len(head) if layout.offset == "I" else 8, set[int]()
    while True:
        stream.seek(following)
        (start,) = layout.read(stream, layout.offset)
        if start == 0 or start in seen:
            return
        seen.add(start)
        stream.seek(start)
        (count,) = layout.read(stream, layout.count)
        tally.add_directory(count)
        table = stream.read(count * layout.entry_bytes)
        following = (
            start + struct.calcsize(layout.order + layout.count) + count * layout.entry_bytes
        )
        tags: dict[int, tuple[int, ...]] = {}
        for tag, values in _values(stream, table, layout, tally):
            tags.setdefault(tag, values)  # of a tag that comes twice, libtiff takes the first
        yield tags


@dataclass
class _Tally:
    """Counts what directories have in all, within the limits of this module."""

    most_value_bytes: int
    directories: int = 0
    tags: int = 0
    value_bytes: int = 0

    def add_directory(self, tags: int) -> None:
        self.directories += 1
        self.tags += tags
        if self.directories > MOST_PAGES:
            raise ImageRejectedError(
                f"the TIFF has more than {MOST_PAGES:,} pages; split it into several files"
            )
        if tags > _MOST_TAGS or self.tags > _MOST_TAGS_OF_ALL:
            raise ImageRejectedError("the TIFF has too many tags; save it without metadata")

    def add_values(self, size: int) -> None:
        self.value_bytes += size
        if self.value_bytes > self.most_value_bytes:
            raise ImageRejectedError(
                "the tags of the TIFF have more bytes than the file; save it without metadata"
            )


def _values(
    stream: BinaryIO, table: bytes, layout: _Layout, tally: _Tally
) -> Iterator[tuple[int, tuple[int, ...]]]:
    entry = struct.Struct(layout.order + layout.entry)
    whole = len(table) // entry.size * entry.size
    for tag, kind, count, field in entry.iter_unpack(table[:whole]):
        tally.add_values(_VALUE_BYTES.get(kind, 0) * count)
        if tag not in _READ_TAGS or kind not in _TYPES or count == 0:
            continue
        code = f"{layout.order}{min(count, _MOST_VALUES)}{_TYPES[kind]}"
        if struct.calcsize(f"{layout.order}{_TYPES[kind]}") * count > len(field):
            stream.seek(struct.unpack(layout.order + layout.offset, field)[0])
            field = stream.read(struct.calcsize(code))
        yield tag, struct.unpack(code, field[: struct.calcsize(code)])

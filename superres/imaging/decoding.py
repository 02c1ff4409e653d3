"""Decodes images into planes, whole or in strips; every image that is read goes through here.

Accepts JPEG, PNG, WebP, TIFF, BMP and GIF, recognised by content, never by name. Of several pages
or frames it takes one: the first that is no thumbnail, or the one that is asked for. Planes are
(C, h, W) arrays: grey or red, green, blue, then alpha if there is one. They are upright, in sRGB or
its grey, at their own depth: a 16-bit sample keeps its value. A file that is too large, damaged or
no image raises ``ImageRejectedError`` with the reason in one line.
Encoding is in ``superres.imaging.encoding``.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from superres.errors import ImageRejectedError, StorageError
from superres.imaging import loaders, vips_colour
from superres.imaging.colour import Planes, integer_luma
from superres.imaging.costs import check_costs
from superres.imaging.files import SUFFIX_OF
from superres.imaging.headers import Header, read_header, read_outline
from superres.imaging.info import ImageInfo
from superres.imaging.libvips import Origin, rejecting
from superres.imaging.limits import Limits
from superres.imaging.metadata.source import SourceMetadata, read_metadata
from superres.imaging.signatures import SIGNATURE_BYTES, sniff

ACCEPTED = "JPEG, PNG, WebP, TIFF, BMP, GIF"

# Bytes that planes() unpacks at a time: a block that stays in the processor's cache.
_BLOCK_BYTES = 1 << 20


class DecodedImage:
    """An image whose header has been read and accepted; pixels are decoded on demand.

    Attributes:
        info: size, channels and depth of the decoded planes.
        profile: ICC profile of the samples; None if they are in sRGB, or its grey.
        remarks: what its owner should know, a line each: what of the file is left out, and what
            cannot come out well.
    """

    def __init__(
        self,
        origin: Origin,
        format_name: str,
        header: Header,
        *,
        grayscale: bool,
        keep_profile: bool,
        remarks: tuple[str, ...],
    ) -> None:
        self._origin = origin
        self._format = format_name
        self._header = header
        self.remarks = remarks
        self._keep_profile = keep_profile and not grayscale
        # For the first reading. libvips reads a sequential image once; later readings reopen it.
        self._opened: Any = self._open()
        self.profile = vips_colour.profile_of(self._opened)
        self._is_turned = loaders.is_turned(self._opened)
        self._to_grey = grayscale and self._opened.bands >= 3
        self.info = ImageInfo(
            width=self._opened.width,
            height=self._opened.height,
            channels=self._opened.bands - (2 if self._to_grey else 0),
            bit_depth=loaders.bit_depth(self._opened),
        )

    @property
    def suffix(self) -> str:
        """The file name suffix of the image's format, without the dot."""
        return SUFFIX_OF[self._format]

    def metadata(self) -> SourceMetadata:
        """What the file says beside its pixels; what is damaged is left out with a remark."""
        return read_metadata(self._origin, self._format, self._header.index)

    def check_costs(self, size: int, limits: Limits) -> None:
        """Rejects an image that EXIF turns or mirrors, if it is too large to be held for that.

        Args:
            size: of the file, in bytes.
            limits: of files and pixels.

        Raises:
            ImageRejectedError: as ``costs.check_costs``.
        """
        if self._is_turned:
            check_costs(self._format, self._header.outline.turned(), size, limits)

    def strips(self, rows: int) -> Iterator[Planes]:
        """Decode top to bottom, ``rows`` rows at a time.

        Needs memory for about one strip where the format stores rows in order. These need the whole
        image at once: progressive JPEG, interlaced PNG, WebP, GIF, BMP, rare kinds of TIFF, and
        images that EXIF turns or mirrors (above 100 MB, libvips keeps those in a temporary file).

        Args:
            rows: height of a strip; the last one may be lower.

        Yields:
            (C, h, W) arrays of ``info.dtype``, h ≤ rows, contiguous.

        Raises:
            ImageRejectedError: the pixel data is truncated or damaged; strips before the damage
                may have been yielded already.
        """
        if rows < 1:
            raise ValueError(f"rows must be at least 1, not {rows}")
        channels, width, height = self.info.channels, self.info.width, self.info.height
        filled, top = 0, 0
        for block in self._blocks(rows):
            if filled == 0:
                shape = (channels, min(rows, height - top), width)
                strip = self._array(shape)
            self._unpack(block, strip[:, filled : filled + len(block)])
            filled, top = filled + len(block), top + len(block)
            if filled == strip.shape[1]:
                yield strip
                filled = 0

    def planes(self) -> Planes:
        """The whole image.

        Returns:
            (C, H, W) array of ``info.dtype``, contiguous.

        Raises:
            ImageRejectedError: the pixel data is truncated or damaged.
        """
        info = self.info
        whole = self._array((info.channels, info.height, info.width))
        rows = max(16, _BLOCK_BYTES // (info.width * info.channels * info.dtype.itemsize))
        top = 0
        for block in self._blocks(rows):
            self._unpack(block, whole[:, top : top + len(block)])
            top += len(block)
        return whole

    def _blocks(self, rows: int) -> Iterator[np.ndarray[Any, Any]]:
        """Interleaved (h, W, C) samples; some blocks end where strips of ``rows`` rows do."""
        with rejecting(self._format, self._header.outline):
            opened, self._opened = self._opened, None
            image = opened or self._open()
            blocks = loaders.read_rows(image, min(rows, self.info.height))
        while True:
            with rejecting(self._format, self._header.outline):
                block = next(blocks, None)
            if block is None:
                loaders.check_last_rows(self._header)
                return
            yield block

    def _open(self) -> Any:
        return loaders.open_canonical(
            self._origin, self._format, self._header, keep_profile=self._keep_profile
        )

    def _array(self, shape: tuple[int, int, int]) -> Planes:
        with rejecting(self._format, self._header.outline):
            return cast(Planes, np.empty(shape, self.info.dtype))

    def _unpack(self, block: np.ndarray[Any, Any], target: Planes) -> None:
        """Copies interleaved (h, W, C) samples into (C, h, W), as luma with ``grayscale``."""
        channels = np.moveaxis(block, -1, 0)
        if self._to_grey:
            target[0] = integer_luma(channels[:3])
            channels, target = channels[3:], target[1:]
        for plane, samples in zip(target, channels, strict=True):
            plane[...] = samples


def decode(
    data: bytes,
    limits: Limits,
    *,
    grayscale: bool = False,
    page: int | None = None,
    keep_profile: bool = False,
) -> DecodedImage:
    """Reads the header of an encoded image and accepts or rejects it.

    Args:
        data: the encoded image.
        limits: checked before any pixel is decoded.
        grayscale: reduce colour to BT.601 luma (full range); alpha is kept. Without it, an image
            stored as RGB stays RGB even where R = G = B.
        page: which page of a TIFF or frame of an animation, from 1, in the order of the file.
            Without it, the first that is no thumbnail.
        keep_profile: grey or RGB samples stay in the colour space of the file's profile, if that
            is usable; ``grayscale`` converts them all the same.

    Raises:
        ImageRejectedError: too large, damaged, not an accepted image, or there is no such page.
    """
    format_name = _accepted(data[:SIGNATURE_BYTES], len(data), limits)
    header = _read_header(data, format_name, len(data), limits, page)
    image = DecodedImage(
        data,
        format_name,
        header,
        grayscale=grayscale,
        keep_profile=keep_profile,
        remarks=_remarks(header, page_was_chosen=page is not None),
    )
    image.check_costs(len(data), limits)
    return image


def decode_file(
    path: Path,
    limits: Limits,
    *,
    grayscale: bool = False,
    page: int | None = None,
    keep_profile: bool = False,
) -> DecodedImage:
    """Like ``decode``, for a file, which is read only as its pixels are decoded.

    The file must not be moved or deleted before then.

    Raises:
        ImageRejectedError: too large, damaged, not an accepted image, or there is no such page.
        StorageError: the file cannot be read.
    """
    head, size = _head_and_size(path)
    format_name = _accepted(head, size, limits)
    header = _read_header(path, format_name, size, limits, page)
    image = DecodedImage(
        path,
        format_name,
        header,
        grayscale=grayscale,
        keep_profile=keep_profile,
        remarks=_remarks(header, page_was_chosen=page is not None),
    )
    image.check_costs(size, limits)
    return image


def check(content: bytes | Path, limits: Limits) -> str:
    """Accepts or rejects an image by its header alone; returns the suffix of its format.

    Raises:
        ImageRejectedError: too large, or not an accepted image; damaged pixels are not detected.
        StorageError: the file cannot be read.
    """
    head, size = (
        _head_and_size(content)
        if isinstance(content, Path)
        else (content[:SIGNATURE_BYTES], len(content))
    )
    format_name = _accepted(head, size, limits)
    check_costs(format_name, read_outline(content, format_name), size, limits)
    return SUFFIX_OF[format_name]


def _read_header(
    origin: Origin, format_name: str, size: int, limits: Limits, page: int | None
) -> Header:
    header = read_header(origin, format_name, page)
    check_costs(format_name, header.outline, size, limits)
    return header


def _remarks(header: Header, *, page_was_chosen: bool) -> tuple[str, ...]:
    remarks = []
    if header.others and not page_was_chosen:
        remarks.append(
            f"page {header.index + 1} of {header.pages} is taken;"
            " superres upscale --page N takes another"
        )
    if header.two_levels:
        remarks.append(
            "it has two levels; dots that stand for grey become noise, so reduce dithered art to"
            " half its size in grey first"
        )
    unused = header.tiff_page.unused_samples if header.tiff_page else 0
    if unused:
        channels = "1 channel that is" if unused == 1 else f"{unused} channels that are"
        remarks.append(f"{channels} neither colour nor alpha left out")
    return tuple(remarks)


def _head_and_size(path: Path) -> tuple[bytes, int]:
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            return stream.read(SIGNATURE_BYTES), size
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror}; check the path and its permissions"
        ) from None


def _accepted(head: bytes, size: int, limits: Limits) -> str:
    """The format of a file that is not too large."""
    if size == 0:
        raise ImageRejectedError("the file is empty; fetch or save the image again")
    if size > limits.max_bytes:
        raise ImageRejectedError(
            f"the file has {size:,} bytes, over the limit of {limits.max_bytes:,}; use a smaller"
            " file or raise the limit"
        )
    format_name = sniff(head)
    if format_name is None:
        raise ImageRejectedError(
            f"not an image of an accepted format: its content is {_described(head)}; accepted are"
            f" {ACCEPTED}"
        )
    return format_name


def _described(head: bytes) -> str:
    """What content that is not accepted looks like: a file's name may be wrong."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<!--")):
        return "HTML"
    if text.startswith((b"<?xml", b"<svg")):
        return "XML or SVG"
    if text.startswith(b"%pdf"):
        return "PDF"
    if head[4:8] == b"ftyp":
        return "HEIF, AVIF or video"
    return f"unknown (it begins with {head[:8].hex(' ')})"

"""Decodes images into planes, whole or in strips; every image that is read goes through here.

Accepts JPEG, PNG, WebP, TIFF (first page), BMP and GIF (first frame), recognised by content, never
by name. Planes are (C, h, W) arrays: grey or red, green, blue, then alpha if there is one. They are
upright, in sRGB where there is colour, at their own depth: a 16-bit sample keeps its value. A file
that is too large, damaged or no image raises ``ImageRejectedError`` with the reason in one line.
Encoding is in ``superres.imaging.png``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from superres.errors import ImageRejectedError, StorageError
from superres.imaging import loaders
from superres.imaging.colour import Planes, integer_luma
from superres.imaging.files import SUFFIX_OF
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits

ACCEPTED = "JPEG, PNG, WebP, TIFF, BMP, GIF"

# Bytes that planes() unpacks at a time: a block that stays in the processor's cache.
_BLOCK_BYTES = 1 << 20


class DecodedImage:
    """An image whose header has been read and accepted; pixels are decoded on demand.

    Attributes:
        info: size, channels and depth of the decoded planes.
    """

    def __init__(self, origin: loaders.Origin, format_name: str, *, grayscale: bool) -> None:
        self._origin = origin
        self._format = format_name
        # For the first reading. libvips reads a sequential image once; later readings reopen it.
        self._opened: Any = loaders.open_canonical(origin, format_name)
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

    def strips(self, rows: int) -> Iterator[Planes]:
        """Decode top to bottom, ``rows`` rows at a time.

        Needs memory for about one strip where the format stores rows in order. These need the whole
        image at once: progressive JPEG, interlaced PNG, WebP, GIF, BMP, and images that EXIF turns
        or mirrors (above 100 MB, libvips keeps those in a temporary file).

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
        for block in self._blocks(rows):
            strip = np.empty((self.info.channels, *block.shape[:2]), self.info.dtype)
            self._unpack(block, strip)
            yield strip

    def planes(self) -> Planes:
        """The whole image.

        Returns:
            (C, H, W) array of ``info.dtype``, contiguous.

        Raises:
            ImageRejectedError: the pixel data is truncated or damaged.
        """
        info = self.info
        whole = np.empty((info.channels, info.height, info.width), info.dtype)
        rows = max(16, _BLOCK_BYTES // (info.width * info.channels * info.dtype.itemsize))
        top = 0
        for block in self._blocks(rows):
            self._unpack(block, whole[:, top : top + len(block)])
            top += len(block)
        return whole

    def _blocks(self, rows: int) -> Iterator[np.ndarray[Any, Any]]:
        with loaders.rejecting(self._format):
            opened, self._opened = self._opened, None
            image = opened or loaders.open_canonical(self._origin, self._format)
            blocks = loaders.read_rows(image, min(rows, self.info.height))
        while True:
            with loaders.rejecting(self._format):
                block = next(blocks, None)
            if block is None:
                return
            yield block

    def _unpack(self, block: np.ndarray[Any, Any], target: Planes) -> None:
        """Copies interleaved (h, W, C) samples into (C, h, W), as luma with ``grayscale``."""
        channels = np.moveaxis(block, -1, 0)
        if self._to_grey:
            target[0] = integer_luma(channels[:3])
            channels, target = channels[3:], target[1:]
        for plane, samples in zip(target, channels, strict=True):
            plane[...] = samples


def decode(data: bytes, limits: Limits, *, grayscale: bool = False) -> DecodedImage:
    """Reads the header of an encoded image and accepts or rejects it.

    Args:
        data: the encoded image.
        limits: checked before any pixel is decoded.
        grayscale: reduce colour to BT.601 luma (full range); alpha is kept. Without it, an image
            stored as RGB stays RGB even where R = G = B.

    Raises:
        ImageRejectedError: too large, damaged, or not an accepted image.
    """
    head = data[: loaders.SIGNATURE_BYTES]
    format_name = _accepted(data, head, len(data), limits)
    return DecodedImage(data, format_name, grayscale=grayscale)


def decode_file(path: Path, limits: Limits, *, grayscale: bool = False) -> DecodedImage:
    """Like ``decode``, for a file, which is read only as its pixels are decoded.

    The file must not be moved or deleted before then.

    Raises:
        ImageRejectedError: too large, damaged, or not an accepted image.
        StorageError: the file cannot be read.
    """
    head, size = _head_and_size(path)
    format_name = _accepted(path, head, size, limits)
    return DecodedImage(path, format_name, grayscale=grayscale)


def check(content: bytes | Path, limits: Limits) -> str:
    """Accepts or rejects an image by its header alone; returns the suffix of its format.

    Raises:
        ImageRejectedError: too large, or not an accepted image; damaged pixels are not detected.
        StorageError: the file cannot be read.
    """
    head, size = (
        _head_and_size(content)
        if isinstance(content, Path)
        else (content[: loaders.SIGNATURE_BYTES], len(content))
    )
    return SUFFIX_OF[_accepted(content, head, size, limits, loaders.quick_size)]


def _head_and_size(path: Path) -> tuple[bytes, int]:
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            return stream.read(loaders.SIGNATURE_BYTES), size
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror}; check the path and its permissions"
        ) from None


def _accepted(
    origin: loaders.Origin,
    head: bytes,
    size: int,
    limits: Limits,
    size_in_header: Callable[[loaders.Origin, str], tuple[int, int]] = loaders.header_size,
) -> str:
    """The format of an image that is within the limits."""
    if size == 0:
        raise ImageRejectedError("the file is empty; fetch or save the image again")
    if size > limits.max_bytes:
        raise ImageRejectedError(
            f"the file has {size:,} bytes, over the limit of {limits.max_bytes:,}; use a smaller"
            " file or raise the limit"
        )
    format_name = loaders.sniff(head)
    if format_name is None:
        raise ImageRejectedError(
            f"not an image of an accepted format: its content is {_described(head)}; accepted are"
            f" {ACCEPTED}"
        )
    width, height = size_in_header(origin, format_name)
    if width * height > limits.max_pixels:
        raise ImageRejectedError(
            f"the {format_name} has {width:,} × {height:,} pixels, over the limit of"
            f" {limits.max_pixels:,}; use a smaller image or raise the limit"
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

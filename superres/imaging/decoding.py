"""Encoded photographs to arrays of samples, whole or in strips; every image enters through here.

Accepted are JPEG, PNG, WebP, TIFF (first page), BMP and GIF (first frame), told apart by content,
never by name. What comes out are planes: (C, h, W) arrays, grey or red, green, blue, then alpha if
there is one; upright, in sRGB where there is colour, at their own depth: a 16-bit sample keeps its
value. A file that is too large, damaged, or no image raises ``ImageRejectedError`` with one line
that says why. ``superres.imaging.png`` is the way out.
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

# Rows that planes() unpacks at a time, in bytes: a block that stays in the processor's cache.
_BLOCK_BYTES = 1 << 20


class DecodedImage:
    """An image whose header has been read and accepted; its pixels are decoded when asked for.

    Attributes:
        info: size, channels and depth of what ``strips`` and ``planes`` give.
    """

    def __init__(self, origin: loaders.Origin, format_name: str, *, grayscale: bool) -> None:
        self._origin = origin
        self._format = format_name
        # Kept for the first reading; libvips reads a sequential image once, later ones open anew.
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
        """What a file of this format is called, without the dot; by content, never by name."""
        return SUFFIX_OF[self._format]

    def strips(self, rows: int) -> Iterator[Planes]:
        """Decode top to bottom, ``rows`` rows at a time.

        Memory is about one strip where the format is stored row by row. These need the whole image
        at once: progressive JPEG, interlaced PNG, WebP, GIF, BMP; and whatever EXIF turns or
        mirrors, which libvips keeps in a temporary file above 100 MB.

        Args:
            rows: height of a strip; the last one has what is left.

        Yields:
            (C, h, W) arrays of ``info.dtype``, h ≤ rows, contiguous.

        Raises:
            ImageRejectedError: the pixel data is truncated or damaged; strips before the damage
                may have been yielded by then.
        """
        if rows < 1:
            raise ValueError(f"a strip has at least one row, not {rows}")
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
        """(h, W, C) interleaved into (C, h, W), through luma where grey was asked for."""
        channels = np.moveaxis(block, -1, 0)
        if self._to_grey:
            target[0] = integer_luma(channels[:3])
            channels, target = channels[3:], target[1:]
        for plane, samples in zip(target, channels, strict=True):
            plane[...] = samples


def decode(data: bytes, limits: Limits, *, grayscale: bool = False) -> DecodedImage:
    """Read the header of an encoded image and accept or reject it.

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
    """Like ``decode``, reading from a file as pixels are asked for, never the file as a whole.

    The file must stay where it is until the pixels have been read.

    Raises:
        ImageRejectedError: too large, damaged, or not an accepted image.
        StorageError: the file cannot be read.
    """
    head, size = _head_and_size(path)
    format_name = _accepted(path, head, size, limits)
    return DecodedImage(path, format_name, grayscale=grayscale)


def check(content: bytes | Path, limits: Limits) -> str:
    """Accept or reject an image by its header alone, and tell what a file of its format is called.

    Raises:
        ImageRejectedError: too large, or not an accepted image; damage further on is not seen.
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
    """The format of an image that keeps the limits."""
    if size == 0:
        raise ImageRejectedError("the file is empty; fetch or save the image again")
    if size > limits.max_bytes:
        raise ImageRejectedError(
            f"the file has {size:,} bytes, over the limit of {limits.max_bytes:,}; send a smaller"
            " one or raise the limit"
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
            f" {limits.max_pixels:,}; send a smaller one or raise the limit"
        )
    return format_name


def _described(head: bytes) -> str:
    """A word for content that is not accepted, for people who trusted a file's name."""
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

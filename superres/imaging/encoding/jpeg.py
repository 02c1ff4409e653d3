"""Encodes strips as JPEG, with a few rows in memory at a time.

libvips compresses, in a thread of its own, what comes through a pipe as an uncompressed PNG; so the
caller's iterator stays in the caller's thread. The JPEG is baseline with the standard Huffman
tables: optimised ones, and progressive scans, need 12 bytes a pixel of the whole image (5 GB for
24,000 × 18,000), take three and six times as long, and save 1 and 5 %.
"""

import os
import struct
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pyvips

import superres.imaging.libvips  # noqa: F401  its settings: one thread, no cache
from superres.errors import StorageError
from superres.imaging.colour import Planes
from superres.imaging.encoding.formats import FULL_COLOUR_QUALITY
from superres.imaging.info import ImageInfo
from superres.imaging.jpeg_segments import (
    EXIF,
    PHOTOSHOP,
    XMP,
    profile_segments,
    segment_bytes,
)
from superres.imaging.metadata.model import Metadata
from superres.imaging.png import write_png
from superres.imaging.whole_file import WholeFile

_START = b"\xff\xd8"  # libvips writes no segment of metadata behind it


def encode_jpeg(
    strips: Iterable[Planes],
    info: ImageInfo,
    file: WholeFile,
    quality: int,
    metadata: Metadata,
    profile: bytes,
) -> None:
    """Writes strips to ``file``; 8 bits, grey or RGB.

    Raises:
        ValueError: the strips do not fit ``info``.
        StorageError: the file cannot be written.
        Exception: an exception of the iterator of strips, unchanged.
    """
    read_end, write_end = os.pipe()
    output = _Output(file, _segments(metadata, profile))
    with ThreadPoolExecutor(1, "jpeg") as pool:
        done = pool.submit(_compress, read_end, output, quality)
        with suppress(_EncoderFailedError):
            _feed(strips, info, write_end, output)
    done.result()


def photoshop_resource(iptc: bytes) -> bytes:
    """IPTC as Photoshop's image resource 0x0404, which JPEG and PNG hold it in."""
    return struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(iptc)) + iptc + b"\0" * (len(iptc) % 2)


class _Output:
    """Writes what libvips hands over, with segments of metadata behind its first mark."""

    def __init__(self, file: WholeFile, segments: bytes) -> None:
        self._file = file
        self._segments = segments
        self._start = b""
        self.error: BaseException | None = None
        self.has_failed = False

    def write(self, content: bytes) -> int:
        """For libvips, to which a negative number means a failure."""
        try:
            self._write(content)
        except BaseException as error:  # goes through C, and is raised again on the other side
            self.error = error
            return -1
        return len(content)

    def _write(self, content: bytes) -> None:
        if len(self._start) < len(_START):
            self._start += content
            if len(self._start) < len(_START):
                return
            content = _START + self._segments + self._start.removeprefix(_START)
        self._file.write(content)


def _compress(read_end: int, output: _Output, quality: int) -> None:
    try:
        source = pyvips.Source.new_from_descriptor(read_end)
        image = pyvips.Image.pngload_source(source, access="sequential", fail_on="error")
        target: Any = pyvips.TargetCustom()
        target.on_write(output.write)
        subsampling = "off" if quality >= FULL_COLOUR_QUALITY else "on"
        image.jpegsave_target(target, Q=quality, subsample_mode=subsampling, keep="none")
    except BaseException as error:
        output.has_failed = True
        if isinstance(error, pyvips.Error):
            raise output.error or StorageError(f"the JPEG cannot be encoded: {error}") from None
        raise
    finally:
        while os.read(read_end, 1 << 16):  # after a failure, until the other side notices
            pass
        os.close(read_end)


def _feed(strips: Iterable[Planes], info: ImageInfo, write_end: int, output: _Output) -> None:
    """Writes the image into the pipe.

    Raises:
        _EncoderFailedError: the other thread has failed; its result says why.
    """
    with os.fdopen(write_end, "wb", buffering=0) as pipe:

        def write(content: bytes) -> None:
            rest = memoryview(content)
            while rest:
                if output.has_failed:
                    raise _EncoderFailedError
                rest = rest[pipe.write(rest) :]

        write_png(write, strips, info, compression=None)


class _EncoderFailedError(Exception):
    """Nobody needs what is written into the pipe any more."""


def _segments(metadata: Metadata, profile: bytes) -> bytes:
    """Everything before the tables: JFIF first, as its standard says, then EXIF."""
    x, y = (round(each) for each in metadata.density or (0, 0))
    in_inches = 0 < x < 65_536 and 0 < y < 65_536
    unit, x, y = (1, x, y) if in_inches else (0, 1, 1)
    jfif = b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, unit, x, y, 0, 0)
    parts = [segment_bytes(0xE0, jfif)]
    if metadata.exif:
        parts.append(segment_bytes(0xE1, EXIF + metadata.exif))
    if metadata.xmp:
        parts.append(segment_bytes(0xE1, XMP + metadata.xmp))
    if metadata.iptc:
        parts.append(segment_bytes(0xED, PHOTOSHOP + photoshop_resource(metadata.iptc)))
    return b"".join([*parts, *profile_segments(profile)])

"""Encodes strips of planes as a file in one of the formats of results."""

from collections.abc import Iterable
from pathlib import Path

from superres.imaging.colour import Planes
from superres.imaging.encoding.formats import Encoding
from superres.imaging.encoding.jpeg import encode_jpeg
from superres.imaging.encoding.png import metadata_chunks
from superres.imaging.encoding.tiff import encode_tiff
from superres.imaging.encoding.with_pillow import encode_avif, encode_webp
from superres.imaging.icc import srgb_profile
from superres.imaging.info import ImageInfo
from superres.imaging.metadata.model import NOTHING, Metadata
from superres.imaging.png import write_png
from superres.imaging.whole_file import WholeFile, whole_file


def encode(
    strips: Iterable[Planes],
    info: ImageInfo,
    path: Path,
    encoding: Encoding,
    metadata: Metadata = NOTHING,
    profile: bytes | None = None,
) -> None:
    """Writes strips to ``path``; the file appears there whole or not at all.

    PNG, JPEG and TIFF are written as the strips come; WebP and AVIF need the whole image in memory.

    Args:
        strips: (C, h, W) arrays of ``info.dtype`` from top to bottom; heights may differ and add up
            to ``info.height``.
        info: size, channels and depth of the image.
        path: the file to write or replace, in an existing folder; its suffix does not matter.
        encoding: format and quality.
        metadata: written as far as the format can carry it.
        profile: ICC profile of the samples; None means sRGB, or its grey. Either way the file
            says so. One of grey is for formats that have grey.

    Raises:
        ImageRejectedError: the format cannot hold the image, or there is not enough memory.
        ValueError: the strips do not fit ``info``.
        StorageError: the file cannot be written; nothing of it stays.
        Exception: any other exception of the iterator of strips, unchanged.
    """
    encoding.check(info)
    with whole_file(path, info) as file:
        _encode(strips, info, file, encoding, metadata, profile)


def _encode(
    strips: Iterable[Planes],
    info: ImageInfo,
    file: WholeFile,
    encoding: Encoding,
    metadata: Metadata,
    profile: bytes | None,
) -> None:
    is_grey = info.colours == 1 and encoding.kind.has_grey
    embedded = profile or srgb_profile(grey=is_grey)
    match encoding.format:
        case "png":
            chunks = metadata_chunks(metadata, profile)
            write_png(file.write, strips, info, before_pixels=chunks)
        case "tiff":
            encode_tiff(strips, info, file, metadata, embedded)
        case "jpeg":
            encode_jpeg(strips, info, file, encoding.decided_quality, metadata, embedded)
        case "webp":
            encode_webp(strips, info, file, encoding.decided_quality, metadata, embedded)
        case "avif":
            encode_avif(strips, info, file, encoding.decided_quality, metadata, profile)

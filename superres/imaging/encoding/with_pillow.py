"""Encodes WebP and AVIF with Pillow; both encoders need the whole image in memory.

WebP and AVIF hold 8 bits. WebP has no grey: such images become colours that are equal.
"""

import io
from collections.abc import Iterable
from typing import Any

from PIL import Image

from superres.imaging.colour import Planes
from superres.imaging.encoding.formats import FULL_COLOUR_QUALITY
from superres.imaging.info import ImageInfo
from superres.imaging.metadata.model import Metadata
from superres.imaging.rows import interleaved
from superres.imaging.whole_file import WholeFile

_SPEED = 8
"""Of libavif, 0 to 10: 2.5 times as fast as its default, 6, for files that are 5 % larger."""


def encode_webp(
    strips: Iterable[Planes],
    info: ImageInfo,
    file: WholeFile,
    quality: int,
    metadata: Metadata,
    profile: bytes,
) -> None:
    """Writes strips to ``file``; 8 bits, with or without alpha.

    Raises:
        ValueError: the strips do not fit ``info``.
        StorageError: the file cannot be written.
        Exception: an exception of the iterator of strips, unchanged.
    """
    picture = _whole(strips, info)
    if info.colours == 1:
        picture = picture.convert("RGBA" if info.has_alpha else "RGB")
    _save(picture, file, "WEBP", metadata, quality=quality, icc_profile=profile)


def encode_avif(
    strips: Iterable[Planes],
    info: ImageInfo,
    file: WholeFile,
    quality: int,
    metadata: Metadata,
    profile: bytes | None,
) -> None:
    """As ``encode_webp``; without a profile, AVIF's own numbers say that it is sRGB."""
    subsampling = "4:4:4" if quality >= FULL_COLOUR_QUALITY else "4:2:0"
    options: dict[str, Any] = {} if profile is None else {"icc_profile": profile}
    # One thread: the others belong to other images.
    options |= {"quality": quality, "subsampling": subsampling, "speed": _SPEED, "max_threads": 1}
    _save(_whole(strips, info), file, "AVIF", metadata, **options)


def _whole(strips: Iterable[Planes], info: ImageInfo) -> Image.Image:
    (samples,) = interleaved(strips, info, info.height)
    return Image.fromarray(samples[..., 0] if info.channels == 1 else samples)


def _save(
    picture: Image.Image, file: WholeFile, format_name: str, metadata: Metadata, **options: Any
) -> None:
    options |= {"exif": metadata.exif or b"", "xmp": metadata.xmp or b""}
    encoded = io.BytesIO()
    picture.save(encoded, format_name, **options)
    file.write(encoded.getbuffer())

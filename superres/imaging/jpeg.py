"""JPEG's losses: how strong they are in a file, and what they do to samples.

Strength is given as the quality of libjpeg, 1 to 100, whose tables at that quality lose as much.
"""

import io
from contextlib import suppress
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superres.errors import ImageRejectedError
from superres.imaging.colour import FloatPlane, Planes
from superres.imaging.jpeg_segments import luma_table
from superres.imaging.libvips import Origin, binary
from superres.imaging.signatures import SIGNATURE_BYTES, sniff

# Section K.1 of ITU-T T.81, the luma table that libjpeg scales by the quality; row by row.
_STANDARD_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def jpeg_quality(content: Origin) -> int | None:
    """The quality that an encoded image was saved with; None if it is no JPEG.

    Other encoders than libjpeg have other tables: theirs count as the quality whose steps are as
    large in the mean. Reads the header alone. An image whose header is damaged has no quality:
    decoding rejects it.
    """
    with suppress(ImageRejectedError, ValueError, KeyError), binary(content) as stream:
        if sniff(stream.read(SIGNATURE_BYTES)) != "JPEG":
            return None
        return quality_of_table(luma_table(stream))
    return None


def quality_of_table(table: list[int]) -> int:
    """The quality of libjpeg whose luma table is nearest to this one: 64 steps in any order."""
    strength = _strength(np.asarray(table))
    return int(np.argmin(np.abs(_strengths() - strength))) + 1


def _strength(table: NDArray[np.int64]) -> np.float64:
    return np.float64(np.log(np.maximum(table, 1)).mean())  # a step of 0 is against the standard


@cache
def _strengths() -> NDArray[np.float64]:
    """The strength of libjpeg's table at each quality from 1 to 100."""
    return np.array([_strength(libjpeg_luma(quality)) for quality in range(1, 101)])


def libjpeg_luma(quality: int) -> NDArray[np.int64]:
    """(8, 8) steps of libjpeg's luma table at a quality from 1 to 100."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps: NDArray[np.int64] = np.clip((_STANDARD_LUMA * percent + 50) // 100, 1, 255)
    return steps


def through_jpeg(luma: FloatPlane, quality: int) -> FloatPlane:
    """Compresses (h, w) luma on [0, 255] as a grey JPEG and decodes it again.

    Rounds to whole levels first, as a file holds them. ``quality`` is libjpeg's, 1 to 100.
    """
    levels = np.clip(np.rint(luma), 0, 255).astype(np.uint8)
    return _decoded(_encoded(levels, quality)).astype(np.float32)


def planes_through_jpeg(planes: Planes, quality: int | None) -> Planes:
    """What is left of (C, h, w) samples after a JPEG at this quality; same type.

    None: they go through none, and ``planes`` is returned.

    Colour is stored at half the width and height (4:2:0), as cameras and the web do. JPEG has 8
    bits and no alpha: 16-bit samples are rounded to 8, and alpha is kept as it is.
    """
    if quality is None:
        return planes
    colours = 1 if planes.shape[0] <= 2 else 3
    wide = planes.dtype == np.uint16
    samples = (planes[:colours] + 128.5) // 257 if wide else planes[:colours]
    interleaved = np.moveaxis(samples.astype(np.uint8), 0, -1)
    picture = interleaved if colours == 3 else interleaved[..., 0]
    levels = _decoded(_encoded(picture, quality)).reshape(interleaved.shape)
    result = planes.copy()
    result[:colours] = np.moveaxis(levels, -1, 0)
    if wide:
        result[:colours] *= 257
    return result


def _encoded(levels: NDArray[np.uint8], quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return file.getvalue()


def _decoded(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))

"""Draws pictures from stored images: thumbnails, bicubic enlargements, difference maps.

Images are processed in strips or shrunk while loading, so that no image is held in memory as a
whole. Files in, files or bytes out; ``notifier.pictures`` caches the output.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from superres.errors import ImageRejectedError
from superres.imaging.colour import FloatPlane, Planes, full_luma, visible_colours
from superres.imaging.decoding import DecodedImage, check, decode_file
from superres.imaging.headers import read_header
from superres.imaging.info import ImageInfo
from superres.imaging.jpeg import planes_through_jpeg
from superres.imaging.limits import Limits
from superres.imaging.loaders import open_file
from superres.imaging.png import encode_png
from superres.network.upscaling import upscaled_info
from superres.quality.evaluation import bicubic_rows

DIFFERENCE_PEAK = 0.1
"""The difference of the brightest colour, as a fraction of the full range of luma."""
# fmt: off
COLOURS = (
    0x000004, 0x0B0724, 0x210C4A, 0x3D0965, 0x57106E, 0x71196E, 0x8A226A, 0xA32C61, 0xBC3754,
    0xD04545, 0xE35933, 0xF1711F, 0xF98C0A, 0xFCAA0F, 0xF9C932, 0xF2E865, 0xFCFFA4,
)
# fmt: on
"""matplotlib's inferno (CC0) at every sixteenth: equal steps look equal, dark to light."""

_STRIP_PIXELS = 1 << 20
_QUALITY = 84
_MAX_RATIO = 4  # height of a thumbnail over its requested width


def thumbnail(file: Path, width: int, limits: Limits, shown: tuple[int, int]) -> bytes:
    """Makes a WebP of at most ``width`` pixels across, never larger than the image.

    ``shown`` is the (width, height) of the top left part to show: an original may be larger than
    its result by the pixels that were cropped before it was reduced. Raises ``ImageRejectedError``
    if the file is no image, ``StorageError`` if it cannot be read.
    """
    suffix = check(file, limits)
    try:
        small = _shrunk(file, suffix, width, shown)
        content: bytes = small.webpsave_buffer(Q=_QUALITY, effort=2, keep="none")
    except (pyvips.Error, UnicodeDecodeError):  # the latter where libvips quotes the file
        raise ImageRejectedError("the stored image is damaged; process it again") from None
    return content


def _shrunk(file: Path, suffix: str, width: int, shown: tuple[int, int]) -> Any:
    whole = _opened(file, suffix)
    across = min(width, shown[0])
    ratio = across / shown[0]
    if shown[1] * ratio > _MAX_RATIO * width:
        ratio = _MAX_RATIO * width / shown[1]
    # libvips reports the size before the rotation that EXIF asks for.
    turned = whole.get_typeof("orientation") != 0 and whole.get("orientation") >= 5
    sides = (whole.height, whole.width) if turned else (whole.width, whole.height)
    box = [max(1, round(side * ratio)) for side in sides]
    if suffix == "jpg":
        # A JPEG can be decoded at a fraction of its size; a better filter does the last halving.
        whole = _opened(file, suffix, max(n for n in (1, 2, 4, 8) if n <= 0.5 / ratio or n == 1))
    # Not libvips' thumbnail_source, which accepts damaged files.
    small = whole.thumbnail_image(box[0], height=box[1], size="force", output_profile="srgb")
    small = small.colourspace("srgb")
    wanted = [max(1, round(side * ratio)) for side in shown]
    return small.crop(0, 0, min(wanted[0], small.width), min(wanted[1], small.height))


def _opened(file: Path, suffix: str, shrink: int = 1) -> Any:
    if suffix != "jpg" or read_header(file, "JPEG").lacks_end_mark:
        return open_file(file)
    # Not by name: libvips would parse options from it.
    source = pyvips.Source.new_from_file(str(file))
    return pyvips.Image.jpegload_source(source, access="sequential", fail_on="error", shrink=shrink)


def draw_whole(file: Path, limits: Limits, target: Path) -> None:
    """Converts an image to PNG, for formats that browsers do not show; raises as ``thumbnail``."""
    image = decode_file(file, limits)
    encode_png(image.strips(_rows(image.info.width)), image.info, target)


def draw_bicubic(
    low: DecodedImage, scale: int, target: Path, jpeg_quality: int | None = None
) -> None:
    """Writes the bicubic enlargement that the metrics compare with, as PNG.

    With ``jpeg_quality``, low resolution goes through JPEG first. Raises ``ImageRejectedError`` if
    the image is damaged; so does ``draw_difference``.
    """
    planes = planes_through_jpeg(low.planes(), jpeg_quality)
    encode_png(_bicubic_strips(planes, scale), upscaled_info(low.info, scale), target)


def draw_difference(
    result: DecodedImage, other: DecodedImage, scale: int | None, target: Path
) -> None:
    """Writes a map of the absolute difference in luma, as PNG in ``COLOURS``.

    The other image is the original, whose top left part of the result's size is compared; or, with
    a ``scale``, the low resolution, which is enlarged bicubically. Black means no difference, the
    brightest colour ``DIFFERENCE_PEAK`` or more.
    """
    info = result.info
    if scale is None:
        others = other.strips(_rows(info.width))
        size = (other.info.width, other.info.height)
    else:
        others = _bicubic_strips(other.planes(), scale)
        size = (other.info.width * scale, other.info.height * scale)
    if size[0] < info.width or size[1] < info.height:
        raise ImageRejectedError("the images do not match in size; process the image again")
    drawn = ImageInfo(info.width, info.height, 3, 8)
    encode_png(_difference_strips(result, others), drawn, target)


def _difference_strips(result: DecodedImage, others: Iterator[Planes]) -> Iterator[Planes]:
    table = _colour_table()
    # The result comes first in zip: it is never higher than the other.
    for ours, theirs in zip(result.strips(_rows(result.info.width)), others, strict=False):
        _, height, width = ours.shape
        difference = np.abs(_luma(ours) - _luma(theirs[:, :height, :width]))
        levels = np.minimum(difference * np.float32(255 / DIFFERENCE_PEAK), 255)
        yield np.ascontiguousarray(np.moveaxis(table[np.rint(levels).astype(np.uint8)], -1, 0))


def _bicubic_strips(low: Planes, scale: int) -> Iterator[Planes]:
    height = low.shape[1] * scale
    rows = _rows(low.shape[2] * scale)
    for top in range(0, height, rows):
        yield bicubic_rows(low, scale, top, min(top + rows, height))


def _rows(width: int) -> int:
    return max(16, _STRIP_PIXELS // width)


def _luma(planes: Planes) -> FloatPlane:
    """Full-range luma on [0, 1] of a greyscale or colour image, over mid-grey if it has alpha."""
    colours = visible_colours(planes)
    return colours[0] if len(colours) == 1 else full_luma(*colours)


def _colour_table() -> NDArray[np.uint8]:
    """(256, 3): ``COLOURS``, linearly interpolated."""
    points = np.array([[colour >> 16, colour >> 8 & 255, colour & 255] for colour in COLOURS])
    levels = np.linspace(0, 255, len(COLOURS))
    channels = [np.interp(np.arange(256), levels, points[:, channel]) for channel in range(3)]
    table: NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return table

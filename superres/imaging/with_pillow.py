"""Decodes with Pillow what libvips does not decode, or not right; always a whole picture at once.

These are BMP, GIF, the frames of an animated PNG, and some kinds of TIFF (``tiff.Decoder``).
"""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, TiffImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

# Pillow's own reader of uncompressed TIFF does not know subsampled colour; libtiff does.
TiffImagePlugin.READ_LIBTIFF = True

_TYPES: dict[str, type[ImageFile]] = {
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "PNG": PngImageFile,
    "TIFF": TiffImageFile,
}
_MODES = {"1": "L", "La": "LA", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_COLOURS_OF = {"L": "b-w", "LA": "b-w", "RGB": "srgb", "RGBA": "srgb", "CMYK": "cmyk"}
_CONVERTED_PIXELS = (
    1 << 24
)  # of a picture with a palette; converting it is quick, and takes 7 bytes
_BAND_BYTES = 1 << 24  # of Pillow's samples that are copied at a time


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        samples: (H, W) or (H, W, C), uint8 or uint16; with a palette, (H, W) numbers of colours.
        interpretation: libvips' name of the colours: b-w, grey16, srgb or cmyk.
        profile: the embedded ICC profile.
        palette: (256, 3) colours, or (256, 4) with alpha; None if the samples are colours.
    """

    samples: NDArray[Any]
    interpretation: str
    profile: bytes | None
    palette: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class BmpHeader:
    """What the header of a BMP says.

    Attributes:
        width: in pixels.
        height: likewise.
        mode: Pillow's name of the kind of pixels.
        is_run_length: the pixels are run-length encoded.
        start: of the pixels in the file.
        stride: bytes of a row, if it is not run-length encoded.
    """

    width: int
    height: int
    mode: str
    is_run_length: bool
    start: int
    stride: int


def read_bmp(stream: BinaryIO) -> BmpHeader:
    """Reads the header of a BMP.

    Raises:
        OSError, SyntaxError, ValueError: it is damaged, or of a kind that Pillow does not decode.
    """
    with _reading_header():
        picture = BmpImageFile(stream)
        tile = picture.tile[0]
        is_run_length = tile.codec_name == "bmp_rle"
        assert isinstance(tile.args, tuple)
        stride = 0 if is_run_length else int(tile.args[1])
        return BmpHeader(*picture.size, picture.mode, is_run_length, tile.offset, stride)


def read_picture(
    stream: BinaryIO, format_name: str, index: int, size: tuple[int, int], bits: int = 8
) -> Picture:
    """Decodes the page or frame ``index``, from 0; of TIFF upright.

    Args:
        stream: the file.
        format_name: BMP, GIF, PNG or TIFF.
        index: which page or frame.
        size: width and height according to its header.
        bits: of a sample in the file, where that is neither 8 nor fewer.

    Raises:
        OSError, SyntaxError, ValueError, EOFError: the file is damaged, or of a kind that Pillow
            does not decode; its words say which.
    """
    with _reading():
        picture = _TYPES[format_name](stream)
        picture.seek(index)
        if picture.width * picture.height != size[0] * size[1]:  # of TIFF, perhaps turned
            raise ValueError("its header contradicts itself")
        picture.load()
        profile = picture.info.get("icc_profile")
        if picture.mode.startswith("I;16"):
            return Picture(_to_16_bits(np.asarray(picture), bits), "grey16", profile)
        if picture.mode == "LAB":
            return Picture(np.asarray(_lab_to_srgb(picture)), "srgb", None)
        if picture.mode == "P" and size[0] * size[1] > _CONVERTED_PIXELS:
            return Picture(_copied(picture), "srgb", profile, _palette(picture))
        mode = _MODES.get(picture.mode, picture.mode)
        if "transparency" in picture.info:
            mode = _WITH_ALPHA.get(mode, mode)
        if mode not in _COLOURS_OF:
            raise ValueError(f"pixels of mode {mode}")
        shown = picture if picture.mode == mode else picture.convert(mode)
        return Picture(_copied(shown), _COLOURS_OF[mode], profile)


def _copied(picture: Image.Image) -> NDArray[Any]:
    """The samples, without the second copy that NumPy makes of a whole picture."""
    width, height = picture.size
    rows = max(1, _BAND_BYTES // (width * len(picture.getbands())))
    if rows >= height:
        return np.asarray(picture)
    shape = (height, width, len(picture.getbands()))
    samples = np.empty(shape[: 2 if shape[2] == 1 else 3], np.uint8)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        samples[top:bottom] = np.asarray(picture.crop((0, top, width, bottom)))
    return samples


def _palette(picture: Image.Image) -> NDArray[np.uint8]:
    colours = np.zeros((256, 3), np.uint8)
    listed = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)[:256]
    colours[: len(listed)] = listed
    if "transparency" not in picture.info:
        return colours
    alpha = np.full((256, 1), 255, np.uint8)
    hidden = picture.info["transparency"]
    if isinstance(hidden, int):
        alpha[hidden] = 0
    else:
        alpha[: len(hidden), 0] = list(hidden)
    return np.hstack([colours, alpha])


def _to_16_bits(samples: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """Stretches samples of ``bits`` bits over the whole range of 16."""
    if bits == 16:
        return samples.astype(np.uint16)
    peak = 2**bits - 1
    stretched: NDArray[np.uint32] = (samples.astype(np.uint32) * 65_535 + peak // 2) // peak
    return stretched.astype(np.uint16)


def _lab_to_srgb(picture: Image.Image) -> Image.Image:
    # TIFF's CIE Lab is relative to the white of ICC's connection space.
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    converted = ImageCms.profileToProfile(picture, lab, srgb, intent, outputMode="RGB")
    assert converted is not None  # only with inPlace
    return converted


@contextmanager
def _reading() -> Iterator[None]:
    """Drops Pillow's warnings about unusual tags; what it stumbles over becomes ``ValueError``."""
    try:
        with warnings.catch_warnings(), _reading_header():
            warnings.simplefilter("ignore")
            yield
    except SyntaxError as error:
        if str(error) == "unknown pixel mode":
            raise ValueError("Unsupported layout of pixels") from None
        raise


@contextmanager
def _reading_header() -> Iterator[None]:
    """What Pillow stumbles over in a header becomes ``ValueError``."""
    try:
        yield
    except (TypeError, KeyError, IndexError, struct.error):
        raise ValueError("its header contradicts itself") from None

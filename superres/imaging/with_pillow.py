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

HEADER_FAULTS = (
    *(OSError, SyntaxError, ValueError, EOFError),
    *(TypeError, KeyError, IndexError, struct.error),
)
"""What Pillow raises for a damaged header."""

_TYPES: dict[str, type[ImageFile]] = {
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "PNG": PngImageFile,
    "TIFF": TiffImageFile,
}
_MODES = {"1": "L", "La": "LA", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}
_COLOURS_OF = {"L": "b-w", "LA": "b-w", "RGB": "srgb", "RGBA": "srgb", "CMYK": "cmyk"}


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes:
        samples: (H, W) or (H, W, C), uint8 or uint16.
        interpretation: libvips' name of the colours: b-w, grey16, srgb or cmyk.
        profile: the embedded ICC profile.
    """

    samples: NDArray[Any]
    interpretation: str
    profile: bytes | None


def read_header(stream: BinaryIO, format_name: str) -> tuple[int, int, int]:
    """Width and height in pixels and the number of frames; unpacks no pixel."""
    with _reading():
        picture = _TYPES[format_name](stream)
        width, height = picture.size
        return width, height, int(getattr(picture, "n_frames", 1))


def read_picture(
    stream: BinaryIO, format_name: str, index: int, pixels: int, bits: int = 8
) -> Picture:
    """Decodes the page or frame ``index``, from 0; of TIFF upright.

    Args:
        stream: the file.
        format_name: BMP, GIF, PNG or TIFF.
        index: which page or frame.
        pixels: how many it has according to its header.
        bits: of a sample in the file, where that is neither 8 nor fewer.

    Raises:
        OSError, SyntaxError, ValueError, EOFError: the file is damaged, or of a kind that Pillow
            does not decode; its words say which.
    """
    with _reading():
        picture = _TYPES[format_name](stream)
        picture.seek(index)
        if picture.width * picture.height != pixels:
            raise ValueError("its header contradicts itself")
        picture.load()
        profile = picture.info.get("icc_profile")
        if picture.mode.startswith("I;16"):
            return Picture(_to_16_bits(np.asarray(picture), bits), "grey16", profile)
        if picture.mode == "LAB":
            return Picture(np.asarray(_lab_to_srgb(picture)), "srgb", None)
        mode = _MODES.get(picture.mode, picture.mode)
        if "transparency" in picture.info:
            mode = _WITH_ALPHA.get(mode, mode)
        if mode not in _COLOURS_OF:
            raise ValueError(f"pixels of mode {mode}")
        shown = picture if picture.mode == mode else picture.convert(mode)
        return Picture(np.asarray(shown), _COLOURS_OF[mode], profile)


def _to_16_bits(samples: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """Stretches samples of ``bits`` bits over the whole range of 16."""
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except SyntaxError as error:
        if str(error) == "unknown pixel mode":
            raise ValueError("Unsupported layout of pixels") from None
        raise
    except (TypeError, KeyError, IndexError, struct.error):
        raise ValueError("its header contradicts itself") from None

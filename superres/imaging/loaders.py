"""Opens a JPEG, PNG, WebP, TIFF, BMP or GIF as a lazy libvips image in one canonical form.

Canonical means: upright (EXIF orientation applied), grey or sRGB, at most one alpha channel, not
premultiplied, 8 or 16 bits. Only this module calls libvips; ``imaging.decoding`` turns its images
into NumPy strips. libvips ships no types, so its objects are ``Any`` here and nowhere else.

The signature of the content selects the loader. There is no list of loaders to try in turn, so
SVG, PDF, HEIF, raw samples and the other formats of libvips never reach a parser.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from superres.errors import ImageRejectedError

# Spark runs one Python worker per core: more threads would only compete, and cached operations
# would keep finished images in memory.
pyvips.concurrency_set(1)
pyvips.cache_set_max(0)
if pyvips.API_mode:
    # libvips logs faults that it tolerates, quoting bytes of the file. pyvips decodes them as UTF-8
    # and prints a traceback where that fails. Such files are accepted, so drop these messages.
    pyvips.ffi.def_extern(name="_log_handler_callback")(lambda *_: None)

Origin = bytes | Path
"""An encoded image: its bytes, or the file that holds them."""

SIGNATURE_BYTES = 16

_OPERATIONS = {
    "JPEG": "jpegload_source",
    "PNG": "pngload_source",
    "WebP": "webpload_source",
    "TIFF": "tiffload_source",
}
# pyvips-binary's libvips has no loader for BMP. Its GIF loader takes seconds for tall images (it
# unpacks the frame anew for every few rows) and lets damaged ones through.
_PILLOW_TYPES: dict[str, type[BmpImageFile | GifImageFile]] = {
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
}
_PREFIXES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
_NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "uchar": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
}
_GREY = ("b-w", "grey16")
_RGB = ("srgb", "rgb", "rgb16")
# A profile that moves no colour by more than one level of 255 is sRGB, whatever its name. Keeping
# the samples is then more exact than a transform, preserves 16-bit values, and is faster.
_SAME_COLOUR = 1


def sniff(head: bytes) -> str | None:
    """The format that the first ``SIGNATURE_BYTES`` bytes announce; None if it is not accepted."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    return next((name for prefix, name in _PREFIXES if head.startswith(prefix)), None)


@contextmanager
def rejecting(format_name: str) -> Iterator[None]:
    """Turns a decoder's exception about the file into a one-line ``ImageRejectedError``."""
    try:
        yield
    except pyvips.Error as error:
        raise _damaged(format_name, error.detail) from None
    except UnicodeDecodeError:  # pyvips, when libvips quotes the file in its message
        raise _damaged(format_name, "") from None
    except (OSError, SyntaxError, ValueError, EOFError, DecompressionBombError) as error:  # Pillow
        raise _damaged(format_name, str(error)) from None


def header_size(origin: Origin, format_name: str) -> tuple[int, int]:
    """Width and height in pixels from the header; decodes no pixel."""
    with rejecting(format_name):
        if format_name in _PILLOW_TYPES:
            with _binary(origin) as stream:
                return _PILLOW_TYPES[format_name](stream).size
        image = _load(origin, format_name, "sequential")
        return image.width, image.height


def quick_size(origin: Origin, format_name: str) -> tuple[int, int]:
    """Like ``header_size``, without libvips for the usual formats.

    Reading a header takes dozens of calls to libvips, and each releases the interpreter's lock: in
    eight threads that fetch, waiting for the lock costs more than everything else. Headers that
    Pillow cannot read are left to libvips.
    """
    reader = {"JPEG": JpegImageFile, "PNG": PngImageFile}.get(format_name)
    if reader is not None:
        with suppress(OSError, SyntaxError, ValueError, struct.error), _binary(origin) as stream:
            return reader(stream).size
    return header_size(origin, format_name)


def open_canonical(origin: Origin, format_name: str) -> Any:
    """The first page or frame as a lazy libvips image in canonical form.

    Rows must be read top to bottom, once. Only the header is read here, but a BMP or GIF is decoded
    whole.

    Raises:
        ImageRejectedError: the header is damaged, or the samples are neither 8 nor 16 bits of grey,
            RGB or CMYK.
    """
    with rejecting(format_name):
        if format_name in _PILLOW_TYPES:
            return _load_with_pillow(origin, format_name)
        image = _load(origin, format_name, "sequential")
        if image.get_typeof("orientation") and image.get("orientation") != 1:
            # Rotating needs random access: libvips decodes the image into memory or, above
            # 100 MB, into a temporary file.
            image = _load(origin, format_name, "random").autorot()
        _check_samples(image, format_name)
        return _to_srgb(image)


def read_rows(image: Any, rows: int) -> Iterator[np.ndarray[Any, Any]]:
    """Read-only (h, W, C) blocks of at most ``rows`` rows, top to bottom."""
    region = pyvips.Region.new(image)
    dtype = _NUMPY_TYPES[image.format]
    for top in range(0, image.height, rows):
        height = min(rows, image.height - top)
        buffer = region.fetch(0, top, image.width, height)
        yield np.frombuffer(buffer, dtype).reshape(height, image.width, image.bands)


def bit_depth(image: Any) -> int:
    """8 or 16."""
    return 8 * _NUMPY_TYPES[image.format].itemsize


def _damaged(format_name: str, detail: str) -> ImageRejectedError:
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    cause = f" ({lines[0]})" if lines else ""
    return ImageRejectedError(
        f"the {format_name} data is truncated, damaged or of a rare kind{cause}; fetch or save the"
        " image again"
    )


def _binary(origin: Origin) -> Any:
    return origin.open("rb") if isinstance(origin, Path) else io.BytesIO(origin)


def _load(origin: Origin, format_name: str, access: str) -> Any:
    # libvips appends to one error buffer per process; without this a rejection would quote the
    # error of an earlier image.
    pyvips.vips_lib.vips_error_clear()
    if isinstance(origin, Path):
        source = pyvips.Source.new_from_file(str(origin))
    else:
        source = pyvips.Source.new_from_memory(origin)
    operation = getattr(pyvips.Image, _OPERATIONS[format_name])
    return operation(source, access=access, fail_on="error")


def _load_with_pillow(origin: Origin, format_name: str) -> Any:
    with _binary(origin) as stream:
        picture = _PILLOW_TYPES[format_name](stream)
        mode = {"1": "L", "P": "RGB"}.get(picture.mode, picture.mode)
        if "transparency" in picture.info:
            mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
        pixels = np.asarray(picture.convert(mode))
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    return image.copy(interpretation="b-w" if image.bands <= 2 else "srgb")


def _check_samples(image: Any, format_name: str) -> None:
    colours = {**dict.fromkeys(_GREY, 1), **dict.fromkeys(_RGB, 3), "cmyk": 4}
    base = colours.get(image.interpretation)
    if base is not None and image.format in _NUMPY_TYPES and image.bands in (base, base + 1):
        return
    raise ImageRejectedError(
        f"the {format_name} holds {image.bands} channels of {image.interpretation} as"
        f" {image.format}; save it as 8- or 16-bit grey, RGB or CMYK with at most one alpha channel"
    )


def _to_srgb(image: Any) -> Any:
    """Grey stays as it is; RGB with a profile and CMYK become sRGB of the same depth."""
    if image.interpretation in _GREY:
        return image
    if image.interpretation == "cmyk":
        return _transform(image, depth=bit_depth(image), input_profile="cmyk")
    if image.get_typeof("icc-profile-data") and _profile_matters(image.get("icc-profile-data")):
        return _transform(image, depth=bit_depth(image))
    return image


def _transform(image: Any, **options: Any) -> Any:
    # Relative colorimetric with black point compensation is what image editors do by default.
    return image.icc_transform(
        "srgb", embedded=True, intent="relative", black_point_compensation=True, **options
    )


@lru_cache(maxsize=8)  # a transform takes 6 ms to set up, and a few profiles are everywhere
def _profile_matters(profile: bytes) -> bool:
    """Whether an embedded RGB profile is usable and differs from sRGB."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3)
    image = pyvips.Image.new_from_array(grid).copy(interpretation="srgb")
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        moved = _transform(image, depth=8).numpy()
    except pyvips.Error:
        return False  # broken, or made for another colour model: the pixels are still good
    return bool(np.abs(moved.astype(int) - grid).max() > _SAME_COLOUR)

"""Opens an image as a lazy libvips image in one canonical form.

Canonical means: upright (EXIF orientation applied), grey or sRGB, at most one alpha channel, not
premultiplied, 8 or 16 bits. libvips decodes; where it cannot, or not right, Pillow does
(``with_pillow``). ``imaging.decoding`` turns the images into NumPy strips.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from superres.errors import ImageRejectedError
from superres.imaging import png_chunks, png_colour, tiff, vips_colour, with_pillow
from superres.imaging.headers import BY_PILLOW, Header, read_header, read_png_chunks
from superres.imaging.libvips import (
    Origin,
    binary,
    damaged,
    last_fault_of_jpeg,
    load,
    load_with_end_mark,
    rejecting,
)
from superres.imaging.signatures import SIGNATURE_BYTES, sniff

_NUMPY_TYPES: dict[str, np.dtype[Any]] = {
    "uchar": np.dtype(np.uint8),
    "ushort": np.dtype(np.uint16),
}
_COLOURS_OF = {
    **{"b-w": 1, "grey16": 1},
    **{"srgb": 3, "rgb": 3, "rgb16": 3},
    "cmyk": 4,
}
_TURNED = "superres-turned"
# libvips' sequential readers take time by the square of the rows that are fetched at once.
_MOST_ROWS = 512
_INTERPRETATIONS = {1: ("b-w", "grey16"), 3: ("srgb", "rgb16"), 4: ("cmyk", "cmyk")}
"""By the number of colours: of 8 bits, and of 16."""


def open_canonical(
    origin: Origin, format_name: str, header: Header, *, keep_profile: bool = False
) -> Any:
    """The page or frame of the header as a lazy libvips image in canonical form.

    The caller keeps ``origin`` for as long as the image is read, since libvips copies no bytes.
    Rows must be read top to bottom, once. Only the header is read here, but what Pillow decodes is
    decoded whole. With ``keep_profile``, grey and RGB stay in the space of a usable profile.

    Raises:
        ImageRejectedError: the header is damaged, or the samples are neither 8 nor 16 bits of grey,
            RGB, CMYK or CIE Lab.
    """
    with rejecting(format_name, header.outline):
        if _is_for_pillow(format_name, header):
            image = _load_with_pillow(origin, format_name, header)
        else:
            image = _load_upright(origin, format_name, header)
        if format_name == "PNG":
            image = _with_colour_of_chunks(image, origin)
        if header.tiff_page is not None:
            image = _without_unused(image, header.tiff_page)
        _check_samples(image, format_name)
        if keep_profile and vips_colour.has_usable_profile(image):
            return image
        return vips_colour.to_srgb(image, 8 if image.format == "uchar" else 16)


def open_file(path: Path) -> Any:
    """The image in an accepted file, as ``open_canonical`` gives it.

    Raises:
        ImageRejectedError: the file is no image that is read.
    """
    with path.open("rb") as stream:
        format_name = sniff(stream.read(SIGNATURE_BYTES))
    if format_name is None:
        raise ImageRejectedError("not an image of an accepted format")
    return open_canonical(path, format_name, read_header(path, format_name))


def is_turned(image: Any) -> bool:
    """Whether decoding keeps the whole image, since EXIF turns or mirrors it."""
    return bool(image.get_typeof(_TURNED))


def read_rows(image: Any, rows: int) -> Iterator[np.ndarray[Any, Any]]:
    """Read-only (h, W, C) blocks, top to bottom, which end at each multiple of ``rows`` rows.

    h is at most ``rows``, and at most ``_MOST_ROWS``.
    """
    region = pyvips.Region.new(image)
    dtype = _NUMPY_TYPES[image.format]
    top = 0
    while top < image.height:
        strip_end = min(top - top % rows + rows, image.height)
        height = min(_MOST_ROWS, strip_end - top)
        buffer = region.fetch(0, top, image.width, height)
        yield np.frombuffer(buffer, dtype).reshape(height, image.width, image.bands)
        top += height


def check_last_rows(header: Header) -> None:
    """Rejects a JPEG without end mark whose last rows, read a moment ago, lack pixels."""
    fault = last_fault_of_jpeg() if header.lacks_end_mark else ""
    if fault:
        raise damaged("JPEG", fault)


def bit_depth(image: Any) -> int:
    """8 or 16."""
    return 8 * _NUMPY_TYPES[image.format].itemsize


def _is_for_pillow(format_name: str, header: Header) -> bool:
    if header.tiff_page is not None:
        return header.tiff_page.decoder is tiff.Decoder.PILLOW
    # libvips knows the still picture of a PNG, but not the frames of its animation.
    return format_name in BY_PILLOW or (format_name == "PNG" and header.index > 0)


def _load_upright(origin: Origin, format_name: str, header: Header) -> Any:
    options: dict[str, Any] = {"fail_on": header.fail_on}
    if format_name in ("TIFF", "WebP"):
        options["page"] = header.index
    loader = load_with_end_mark if header.lacks_end_mark else load
    image = loader(origin, format_name, **options)
    if (image.width, image.height) != header.size:
        raise ValueError("its header contradicts itself")
    if image.get_typeof("orientation") and image.get("orientation") != 1:
        # Rotating needs random access: libvips decodes the image into memory or, above
        # 100 MB, into a temporary file.
        turned = loader(origin, format_name, access="random", **options).autorot().copy()
        turned.set_type(pyvips.GValue.gint_type, _TURNED, 1)
        return turned
    return image


def _load_with_pillow(origin: Origin, format_name: str, header: Header) -> Any:
    if format_name == "PNG" and png_chunks.bit_depth(read_png_chunks(origin)) == 16:
        raise ImageRejectedError(
            "the PNG has frames of 16 bits, of which only the still picture is read; take page 1"
        )
    bits = header.tiff_page.bits[0] if header.tiff_page else 8
    with binary(origin) as stream:
        picture = with_pillow.read_picture(stream, format_name, header.index, header.size, bits)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(picture.samples))
    if picture.palette is not None:
        image = image.maplut(pyvips.Image.new_from_array(picture.palette[np.newaxis]))
    image = image.copy(interpretation=picture.interpretation)
    return vips_colour.with_profile(image, picture.profile)


def _with_colour_of_chunks(image: Any, origin: Origin) -> Any:
    space = png_colour.colour_space(read_png_chunks(origin))
    if space is None:
        return image
    if space.narrow:
        image = vips_colour.widened(image, bit_depth(image))
    return vips_colour.with_profile(image, space.profile(grey=image.bands <= 2))


def _without_unused(image: Any, page: tiff.Page) -> Any:
    """Colour and alpha alone."""
    if page.unused_samples <= 0 or page.decoder is tiff.Decoder.PILLOW:
        return image  # Pillow leaves them out
    colours = image.bands - page.extra_count
    if colours not in _INTERPRETATIONS:
        raise ValueError(f"{image.bands} channels")  # not those of the directory
    kept = image[:colours]
    if page.alpha is not None:
        kept = kept.bandjoin(image[colours + page.alpha])
    return kept.copy(interpretation=_INTERPRETATIONS[colours][image.format == "ushort"])


def _check_samples(image: Any, format_name: str) -> None:
    if image.interpretation == "labs" and image.bands == 3:
        return
    base = _COLOURS_OF.get(image.interpretation)
    if base is not None and image.format in _NUMPY_TYPES and image.bands in (base, base + 1):
        return
    raise ImageRejectedError(
        f"the {format_name} holds {image.bands} channels of {image.interpretation} as"
        f" {image.format}; save it as 8- or 16-bit grey, RGB or CMYK with at most one alpha channel"
    )

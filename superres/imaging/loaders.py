"""Opens a JPEG, PNG, WebP, TIFF, BMP or GIF as a lazy libvips image in one canonical form.

Canonical means: upright (EXIF orientation applied), grey or sRGB, at most one alpha channel, not
premultiplied, 8 or 16 bits. libvips decodes; where it cannot, or not right, Pillow does
(``with_pillow``). ``imaging.decoding`` turns the images into NumPy strips. libvips ships no types,
so its objects are ``Any`` here and in ``vips_colour``, and nowhere else.

The signature of the content selects the loader. There is no list of loaders to try in turn, so
SVG, PDF, HEIF, raw samples and the other formats of libvips never reach a parser.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips
from PIL.Image import DecompressionBombError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from superres.errors import ImageRejectedError
from superres.imaging import png_colour, tiff, vips_colour, with_pillow
from superres.imaging.jpeg_end import END_MARK, has_end_mark, has_every_scan

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
_BY_PILLOW = frozenset(["BMP", "GIF"])
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
_COLOURS_OF = {
    **{"b-w": 1, "grey16": 1},
    **{"srgb": 3, "rgb": 3, "rgb16": 3},
    "cmyk": 4,
}


@dataclass(frozen=True)
class Header:
    """What the header of an image says about the page or frame to take.

    Attributes:
        width: in pixels, before the orientation is applied.
        height: likewise.
        index: of the page or frame, from 0.
        pages: how many pages or frames there are.
        others: how many of these show something else; reduced copies of the one taken do not.
        tiff_page: the directory, if the image is a TIFF.
        lacks_end_mark: the image is a JPEG without one.
        two_levels: it has one bit a pixel, so that any grey in it is made of dots.
    """

    width: int
    height: int
    index: int = 0
    pages: int = 1
    others: int = 0
    tiff_page: tiff.Page | None = None
    lacks_end_mark: bool = False
    two_levels: bool = False

    @property
    def fail_on(self) -> str:
        """From which of libvips' degrees of faults on the image is rejected.

        libvips only warns of a tile that it cannot read, and leaves it black; libjpeg only warns of
        pixels that are missing before an end mark. Elsewhere warnings are about harmless faults.
        """
        tiled = self.tiff_page is not None and self.tiff_page.tiled
        return "warning" if tiled or self.lacks_end_mark else "error"


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


def read_header(origin: Origin, format_name: str, page: int | None = None) -> Header:
    """Size and pages from the header; decodes no pixel.

    Args:
        origin: the encoded image.
        format_name: as ``sniff`` returns it.
        page: the page or frame to take, from 1; None for the first that is no thumbnail.

    Raises:
        ImageRejectedError: the header is damaged, there is no such page, or no decoder reads it.
    """
    with rejecting(format_name):
        if format_name == "TIFF":
            return _tiff_header(origin, page)
        width, height, pages = _size_and_pages(origin, format_name)
        _check_page(format_name, page, pages)
        return Header(
            width,
            height,
            index=(page or 1) - 1,
            pages=pages,
            others=pages - 1,
            lacks_end_mark=format_name == "JPEG" and _lacks_end_mark(origin),
            two_levels=_has_two_levels(origin, format_name),
        )


def quick_size(origin: Origin, format_name: str) -> tuple[int, int]:
    """Width and height in pixels, without libvips for the usual formats.

    Reading a header takes dozens of calls to libvips, and each releases the interpreter's lock: in
    eight threads that fetch, waiting for the lock costs more than everything else. Headers that
    Pillow cannot read are left to libvips.
    """
    reader = {"JPEG": JpegImageFile, "PNG": PngImageFile}.get(format_name)
    if reader is not None:
        with suppress(OSError, SyntaxError, ValueError, struct.error), _binary(origin) as stream:
            return reader(stream).size
    header = read_header(origin, format_name)
    return header.width, header.height


def open_canonical(origin: Origin, format_name: str, header: Header) -> Any:
    """The page or frame of the header as a lazy libvips image in canonical form.

    The caller keeps ``origin`` for as long as the image is read, since libvips copies no bytes.
    Rows must be read top to bottom, once. Only the header is read here, but what Pillow decodes is
    decoded whole.

    Raises:
        ImageRejectedError: the header is damaged, or the samples are neither 8 nor 16 bits of grey,
            RGB, CMYK or CIE Lab.
    """
    with rejecting(format_name):
        if _is_for_pillow(format_name, header):
            image = _load_with_pillow(origin, format_name, header)
        else:
            image = _load_upright(origin, format_name, header)
        if format_name == "PNG":
            image = _with_colour_of_chunks(image, origin)
        if header.tiff_page is not None:
            image = _without_unused(image, header.tiff_page)
        _check_samples(image, format_name)
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


def read_rows(image: Any, rows: int) -> Iterator[np.ndarray[Any, Any]]:
    """Read-only (h, W, C) blocks of at most ``rows`` rows, top to bottom."""
    region = pyvips.Region.new(image)
    dtype = _NUMPY_TYPES[image.format]
    for top in range(0, image.height, rows):
        height = min(rows, image.height - top)
        buffer = region.fetch(0, top, image.width, height)
        yield np.frombuffer(buffer, dtype).reshape(height, image.width, image.bands)


def check_last_rows(header: Header) -> None:
    """Rejects a JPEG without end mark whose last rows, read a moment ago, lack pixels.

    libvips notices a fault when more rows are read; of the last ones only its error buffer tells.
    """
    if header.lacks_end_mark:
        messages = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer()).decode(errors="replace")
        if "VipsJpeg" in messages:
            raise _damaged("JPEG", messages)


def bit_depth(image: Any) -> int:
    """8 or 16."""
    return 8 * _NUMPY_TYPES[image.format].itemsize


def _damaged(format_name: str, detail: str) -> ImageRejectedError:
    lines = [line.strip() for line in detail.splitlines() if line.strip()]
    cause = f" ({lines[0]})" if lines else ""
    if lines and lines[0].startswith("Unsupported"):
        return ImageRejectedError(
            f"the {format_name} is of a kind that is not read{cause}; save it as PNG"
        )
    return ImageRejectedError(
        f"the {format_name} data is truncated, damaged or of a rare kind{cause}; fetch or save the"
        " image again"
    )


def _binary(origin: Origin) -> BinaryIO:
    return origin.open("rb") if isinstance(origin, Path) else io.BytesIO(origin)


def _tiff_header(origin: Origin, wanted: int | None) -> Header:
    with _binary(origin) as stream:
        pages = tiff.read_pages(stream)
    _check_page("TIFF", wanted, len(pages))
    index = tiff.choose(pages, wanted)
    others = sum(not page.reduced for page in pages[:index] + pages[index + 1 :])
    page = pages[index]
    return Header(
        page.width,
        page.height,
        index,
        len(pages),
        others,
        tiff_page=page,
        two_levels=page.bits == (1,),
    )


def _size_and_pages(origin: Origin, format_name: str) -> tuple[int, int, int]:
    """Width, height, and how many pages or frames there are."""
    if format_name in _BY_PILLOW:
        with _binary(origin) as stream:
            return with_pillow.read_header(stream, format_name)
    image = _load(origin, format_name)
    pages = 1
    if format_name == "PNG":
        pages = png_colour.frames(_chunks(origin))
    elif format_name == "WebP" and image.get_typeof("n-pages"):
        pages = image.get("n-pages")
    return image.width, image.height, pages


def _check_page(format_name: str, wanted: int | None, pages: int) -> None:
    if wanted is not None and not 1 <= wanted <= pages:
        count = "1 page" if pages == 1 else f"{pages} pages"
        raise ImageRejectedError(
            f"the {format_name} has {count}, so there is no page {wanted}; choose another"
        )


def _is_for_pillow(format_name: str, header: Header) -> bool:
    if header.tiff_page is not None:
        return header.tiff_page.decoder is tiff.Decoder.PILLOW
    # libvips knows the still picture of a PNG, but not the frames of its animation.
    return format_name in _BY_PILLOW or (format_name == "PNG" and header.index > 0)


def _load_upright(origin: Origin, format_name: str, header: Header) -> Any:
    options: dict[str, Any] = {"fail_on": header.fail_on}
    if format_name in ("TIFF", "WebP"):
        options["page"] = header.index
    load = _load_with_end_mark if header.lacks_end_mark else _load
    image = load(origin, format_name, **options)
    if image.get_typeof("orientation") and image.get("orientation") != 1:
        # Rotating needs random access: libvips decodes the image into memory or, above
        # 100 MB, into a temporary file.
        return load(origin, format_name, access="random", **options).autorot()
    return image


def _load(origin: Origin, format_name: str, **options: Any) -> Any:
    # libvips appends to one error buffer per process; without this a rejection would quote the
    # error of an earlier image.
    pyvips.vips_lib.vips_error_clear()
    operation = getattr(pyvips.Image, _OPERATIONS[format_name])
    options = {"access": "sequential", "fail_on": "error", **options}
    return operation(_source(origin), **options)


def _load_with_end_mark(origin: Origin, _: str, **options: Any) -> Any:
    """Loads a JPEG as if it had its end mark; libvips copies the bytes."""
    data = origin.read_bytes() if isinstance(origin, Path) else origin
    pyvips.vips_lib.vips_error_clear()
    return pyvips.Image.jpegload_buffer(data + END_MARK, **{"access": "sequential", **options})


def _source(origin: Origin) -> Any:
    if isinstance(origin, Path):
        return pyvips.Source.new_from_file(str(origin))
    return pyvips.Source.new_from_memory(origin)


def _load_with_pillow(origin: Origin, format_name: str, header: Header) -> Any:
    if format_name == "PNG" and png_colour.bit_depth(_chunks(origin)) == 16:
        raise ImageRejectedError(
            "the PNG has frames of 16 bits, of which only the still picture is read; take page 1"
        )
    bits = header.tiff_page.bits[0] if header.tiff_page else 8
    with _binary(origin) as stream:
        picture = with_pillow.read_picture(stream, format_name, header.index, bits)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(picture.samples))
    image = image.copy(interpretation=picture.interpretation)
    return vips_colour.with_profile(image, picture.profile)


def _lacks_end_mark(origin: Origin) -> bool:
    with _binary(origin) as stream:
        if has_end_mark(stream):
            return False
        if not has_every_scan(stream):
            raise ValueError("scans are missing")
        return True


def _has_two_levels(origin: Origin, format_name: str) -> bool:
    """Whether PNG or BMP has one bit a pixel, or the palette of a GIF two colours."""
    with _binary(origin) as stream:
        head = stream.read(13 + 3 * 256)
    match format_name:
        case "PNG":
            return head[24] == 1
        case "GIF":
            palette = head[13 : 13 + 3 * (2 << (head[10] & 0b111))]
            colours = zip(palette[::3], palette[1::3], palette[2::3], strict=False)
            return head[10] >= 0b10000000 and len(set(colours)) <= 2
        case "BMP":
            return head[14] != 12 and head[28] == 1
    return False


def _chunks(origin: Origin) -> dict[bytes, bytes]:
    with _binary(origin) as stream:
        return png_colour.read_chunks(stream)


def _with_colour_of_chunks(image: Any, origin: Origin) -> Any:
    space = png_colour.colour_space(_chunks(origin))
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
    kept = image[:colours]
    if page.alpha is not None:
        kept = kept.bandjoin(image[colours + page.alpha])
    wide = image.format == "ushort"
    names = {1: ("b-w", "grey16"), 3: ("srgb", "rgb16"), 4: ("cmyk", "cmyk")}
    return kept.copy(interpretation=names[colours][wide]) if colours in names else image


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

"""Calls libvips: its settings, its loaders, and what its errors mean.

libvips ships no types, so its objects are ``Any`` here and in the modules of this package that
handle them, and nowhere else. The caller names the format: there is no list of loaders to try in
turn, so SVG, PDF, HEIF, raw samples and the other formats of libvips never reach a parser.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyvips
from PIL.Image import DecompressionBombError

from superres.errors import ImageRejectedError
from superres.imaging.costs import out_of_memory
from superres.imaging.jpeg_end import END_MARK
from superres.imaging.outline import Outline

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

_OPERATIONS = {
    "JPEG": "jpegload_source",
    "PNG": "pngload_source",
    "WebP": "webpload_source",
    "TIFF": "tiffload_source",
}
# In the words of libvips and of the libraries that it decodes with.
_OUT_OF_MEMORY = re.compile("(out of|insufficient|cannot allocate) memory|no space for", re.I)


@contextmanager
def rejecting(format_name: str, outline: Outline | None = None) -> Iterator[None]:
    """Turns a decoder's exception, or a lack of memory, into a one-line ``ImageRejectedError``."""
    try:
        yield
    except pyvips.Error as error:
        if _OUT_OF_MEMORY.search(error.detail):
            raise out_of_memory(f"decoding the {format_name}", outline) from None
        raise damaged(format_name, error.detail) from None
    except MemoryError:
        raise out_of_memory(f"decoding the {format_name}", outline) from None
    except UnicodeDecodeError:  # pyvips, when libvips quotes the file in its message
        raise damaged(format_name, "") from None
    except (OSError, SyntaxError, ValueError, EOFError, DecompressionBombError) as error:  # Pillow
        raise damaged(format_name, str(error)) from None


def damaged(format_name: str, detail: str) -> ImageRejectedError:
    """The rejection of an image, with the first line of what its decoder said."""
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


def binary(origin: Origin) -> BinaryIO:
    """The encoded image as a stream."""
    return origin.open("rb") if isinstance(origin, Path) else io.BytesIO(origin)


def load(origin: Origin, format_name: str, **options: Any) -> Any:
    """A lazy image, to be read from top to bottom, once; ``options`` are those of libvips.

    The caller keeps ``origin`` for as long as the image is read, since libvips copies no bytes.
    """
    # libvips appends to one error buffer per process; without this a rejection would quote the
    # error of an earlier image.
    pyvips.vips_lib.vips_error_clear()
    operation = getattr(pyvips.Image, _OPERATIONS[format_name])
    options = {"access": "sequential", "fail_on": "error", **options}
    return operation(_source(origin), **options)


def load_with_end_mark(origin: Origin, _: str, **options: Any) -> Any:
    """Loads a JPEG as if it had its end mark; libvips copies the bytes."""
    data = origin.read_bytes() if isinstance(origin, Path) else origin
    pyvips.vips_lib.vips_error_clear()
    return pyvips.Image.jpegload_buffer(data + END_MARK, **{"access": "sequential", **options})


def last_fault_of_jpeg() -> str:
    """What libjpeg complained about last, in this process; empty if about nothing.

    libvips raises an error of it when more rows are read; for the last rows there is no other sign.
    """
    messages: bytes = pyvips.ffi.string(pyvips.vips_lib.vips_error_buffer())
    return messages.decode(errors="replace") if b"VipsJpeg" in messages else ""


def _source(origin: Origin) -> Any:
    if isinstance(origin, Path):
        return pyvips.Source.new_from_file(str(origin))
    return pyvips.Source.new_from_memory(origin)

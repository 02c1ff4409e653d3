"""Bounds what an image may cost, by what the structure of its file says; nothing is decoded.

Memory and time follow from pixels, and how many of these there may be is configured. Small files
that claim much are bounded further: no photograph of a megabyte takes a gigabyte to decode.
"""

from superres.errors import ImageRejectedError
from superres.imaging.limits import Limits
from superres.imaging.outline import Outline

SMALL_BYTES = 1 << 20
"""Size of a file up to which it counts as small."""

_USUAL_MAX_PIXELS = 200_000_000  # lower limits do not make the others lower
# What an 8-bit image with alpha takes that is decoded in strips, and one byte more.
_SMALL_FILE_PIXEL_BYTES = 5
_MOST_PASSES, _SMALL_FILE_PASSES = 125, 25  # through an image of the most pixels


def check_costs(format_name: str, outline: Outline, size: int, limits: Limits) -> None:
    """Rejects an image that has too many pixels, or takes too much memory or time.

    Args:
        format_name: as ``sniff`` returns it.
        outline: what the structure of the file says.
        size: of the file, in bytes.
        limits: of files and pixels.

    Raises:
        ImageRejectedError: the image is over a limit; the message says by how much.
    """
    pixels = outline.width * outline.height
    shape = f"{outline.width:,} × {outline.height:,}"
    if pixels > limits.max_pixels:
        raise ImageRejectedError(
            f"the {format_name} has {shape} pixels, over the limit of {limits.max_pixels:,}; use a"
            " smaller image or raise the limit"
        )
    if outline.most_pixels is not None and pixels > outline.most_pixels:
        raise ImageRejectedError(
            f"the {format_name} data is truncated or damaged (so few bytes cannot hold {shape}"
            " pixels); fetch or save the image again"
        )
    if max(outline.width, outline.height) > limits.max_side:
        raise ImageRejectedError(
            f"the {format_name} has {shape} pixels, with a side over the limit of"
            f" {limits.max_side:,}; cut it into several images"
        )
    _check_time(format_name, outline, size, limits)
    _check_memory(format_name, outline, size, limits)


def _check_time(format_name: str, outline: Outline, size: int, limits: Limits) -> None:
    passes = _SMALL_FILE_PASSES if size <= SMALL_BYTES else _MOST_PASSES
    most = passes * max(limits.max_pixels, _USUAL_MAX_PIXELS)
    work = outline.passes * outline.width * outline.height
    if work > most:
        raise ImageRejectedError(
            f"decoding the {format_name} takes as long as one of {work / 1e6:,.0f} megapixels, over"
            f" the limit of {most / 1e6:,.0f} for a file of its size; save it as PNG"
        )


def _check_memory(format_name: str, outline: Outline, size: int, limits: Limits) -> None:
    most = _SMALL_FILE_PIXEL_BYTES * max(limits.max_pixels, _USUAL_MAX_PIXELS)
    if size <= SMALL_BYTES and memory_of(outline) > most:
        raise ImageRejectedError(
            f"decoding the {format_name} takes {_mib(memory_of(outline))}, over the limit of"
            f" {_mib(most)} for a file of {size:,} bytes; use a smaller image or raise the limit"
            " of pixels"
        )


def memory_of(outline: Outline) -> int:
    """Bytes that decoding takes at its peak, with the decoded image."""
    pixels = outline.width * outline.height
    return int(pixels * (outline.pixel_bytes + outline.held_bytes))


def out_of_memory(doing: str, outline: Outline | None) -> ImageRejectedError:
    """The rejection of an image that takes more memory than there is.

    Args:
        doing: what takes the memory, as in "decoding the PNG".
        outline: size and costs of the image, if they are known.
    """
    what = ""
    if outline is not None:
        shape = f"{outline.width:,} × {outline.height:,}"
        what = f" of {shape} pixels takes {_mib(memory_of(outline))}, and"
    else:
        doing = f"for {doing}"
    return ImageRejectedError(
        f"{doing}{what} there is not enough memory; use a smaller image or a machine with more"
    )


def _mib(size: int) -> str:
    return f"{-(-size // 2**20):,} MiB"

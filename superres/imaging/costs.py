"""Bounds what an image may cost, by what the structure of its file says; nothing is decoded.

Memory follows from pixels, and how many pixels there may be is configured. Files that claim much
and hold little are a class of their own: below ``SMALL_BYTES``, an image may need no more than
``SMALL_FILE_PIXEL_BYTES`` for each pixel of the limit, which is what one with alpha needs when it
is decoded in strips.
"""

from superres.errors import ImageRejectedError
from superres.imaging.limits import Limits
from superres.imaging.outline import Outline

SMALL_BYTES = 1 << 20
"""Size of a file up to which the memory for it is bounded further."""
SMALL_FILE_PIXEL_BYTES = 5
MOST_PASSES = 25
"""Through an image of as many pixels as the limit allows; through smaller ones, in proportion."""


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
    if outline.passes * pixels > MOST_PASSES * limits.max_pixels:
        raise ImageRejectedError(
            f"the {format_name} takes a decoder {outline.passes:,} times through {shape} pixels,"
            f" more than {MOST_PASSES} times the limit of pixels; save it as PNG"
        )
    most = SMALL_FILE_PIXEL_BYTES * limits.max_pixels
    if size <= SMALL_BYTES and memory_of(outline) > most:
        raise ImageRejectedError(
            f"the {format_name} of {size:,} bytes takes {_mib(memory_of(outline))} to decode, over"
            f" the limit of {_mib(most)} for a file this small; use a smaller image or raise the"
            " limit of pixels"
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

"""Reads the header of an image: size, pages, and what matters for decoding it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import BinaryIO

from superres.errors import ImageRejectedError
from superres.imaging import (
    bmp,
    gif_blocks,
    jpeg_segments,
    png_chunks,
    tiff,
    webp_chunks,
)
from superres.imaging.jpeg_end import has_end_mark, has_every_scan
from superres.imaging.libvips import Origin, binary, rejecting
from superres.imaging.outline import Outline

# pyvips-binary's libvips has no loader for BMP. Its GIF loader takes seconds for tall images (it
# unpacks the frame anew for every few rows) and lets damaged ones through.
BY_PILLOW = frozenset(["BMP", "GIF"])
"""Formats that only Pillow decodes."""
_OUTLINES: dict[str, Callable[[BinaryIO], Outline]] = {
    "JPEG": jpeg_segments.read_outline,
    "PNG": png_chunks.read_outline,
    "WebP": webp_chunks.read_outline,
    "TIFF": tiff.read_outline,
    "BMP": bmp.read_outline,
    "GIF": gif_blocks.read_outline,
}


@dataclass(frozen=True)
class Header:
    """What the header of an image says about the page or frame to take.

    Attributes:
        outline: its size, and what decoding it costs.
        index: of the page or frame, from 0.
        others: how many of these show something else; reduced copies of the one taken do not.
        tiff_page: the directory, if the image is a TIFF.
        lacks_end_mark: the image is a JPEG without one.
        two_levels: it has one bit a pixel, so that any grey in it is made of dots.
    """

    outline: Outline
    index: int = 0
    others: int = 0
    tiff_page: tiff.Page | None = None
    lacks_end_mark: bool = False
    two_levels: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, before the orientation is applied."""
        return self.outline.width, self.outline.height

    @property
    def pages(self) -> int:
        """How many pages or frames there are."""
        return self.outline.pages

    @property
    def fail_on(self) -> str:
        """From which of libvips' degrees of faults on the image is rejected.

        libvips only warns of a tile that it cannot read, and leaves it black; libjpeg only warns of
        pixels that are missing before an end mark. Elsewhere warnings are about harmless faults.
        """
        tiled = self.tiff_page is not None and self.tiff_page.tiled
        return "warning" if tiled or self.lacks_end_mark else "error"


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
        outline = read_outline(origin, format_name)
        if format_name == "GIF":
            with binary(origin) as stream:
                outline = replace(outline, pages=gif_blocks.count_frames(stream))
        _check_page(format_name, page, outline.pages)
        index = (page or 1) - 1
        return Header(
            outline if index == 0 else outline.of_frame(index),
            index=index,
            others=outline.pages - 1,
            lacks_end_mark=format_name == "JPEG" and _lacks_end_mark(origin),
            two_levels=_has_two_levels(origin, format_name),
        )


def read_outline(origin: Origin, format_name: str) -> Outline:
    """Size and costs of the page or frame that is taken where none is asked for.

    Reads the structure of the file, without any decoder: they take far longer for files that are
    made to cost time, and libvips' dozens of calls contend for the interpreter's lock where eight
    threads fetch.

    Raises:
        ImageRejectedError: the structure is damaged, or has more parts than any honest file.
    """
    with rejecting(format_name), binary(origin) as stream:
        return _OUTLINES[format_name](stream)


def _tiff_header(origin: Origin, wanted: int | None) -> Header:
    with binary(origin) as stream:
        pages = tiff.read_pages(stream)
    _check_page("TIFF", wanted, len(pages))
    index = tiff.choose(pages, wanted)
    others = sum(not page.reduced for page in pages[:index] + pages[index + 1 :])
    page = pages[index]
    return Header(
        replace(page.outline, pages=len(pages)),
        index,
        others,
        tiff_page=page,
        two_levels=page.bits == (1,),
    )


def _check_page(format_name: str, wanted: int | None, pages: int) -> None:
    if wanted is not None and not 1 <= wanted <= pages:
        count = "1 page" if pages == 1 else f"{pages} pages"
        raise ImageRejectedError(
            f"the {format_name} has {count}, so there is no page {wanted}; choose another"
        )


def _lacks_end_mark(origin: Origin) -> bool:
    with binary(origin) as stream:
        if has_end_mark(stream):
            return False
        if not has_every_scan(stream):
            raise ValueError("scans are missing")
        return True


def _has_two_levels(origin: Origin, format_name: str) -> bool:
    """Whether PNG or BMP has one bit a pixel, or the palette of a GIF two colours."""
    with binary(origin) as stream:
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


def read_png_chunks(origin: Origin) -> dict[bytes, bytes]:
    """The chunks of a PNG before its pixels that are about colours and frames."""
    with binary(origin) as stream:
        return png_chunks.read_chunks(stream)

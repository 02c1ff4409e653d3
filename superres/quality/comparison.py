"""Compares ours with bicubic by eye: a web page with a divider, and one picture for a whole run.

``write_page`` writes the page of ``superres compare``: one HTML file that loads nothing else.
``side_by_side`` draws the picture at the end of ``superres run``. Both take a ``Comparison``, which
``compare_planes`` makes from planes in memory.
"""

import base64
import html
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from superres.errors import ImageRejectedError
from superres.imaging.colour import FloatPlane, Planes, integer_luma, protocol_luma
from superres.imaging.info import ImageInfo
from superres.imaging.png import encode_png_bytes
from superres.network.engine import Engine
from superres.network.tiling import Box, split, strips
from superres.network.upscaling import upscale_tiles
from superres.pipeline import storage
from superres.quality.evaluation import bicubic_rows, measure_strips
from superres.quality.metrics import Quality, decibels

# Two images of this size as PNG make a page of about 10 MB: still small enough for a mail.
LOSSLESS_PIXELS = 2_000_000
# Browsers do not decode much larger images; of those the page shows the middle.
MAX_PIXELS = 32_000_000
_WEBP_MAX_SIDE = 16383  # of the format
_WEBP_QUALITY = 95

_PANEL = 396  # side of a panel of the picture, in pixels
_ZOOM = 3
_BLOCK = 4  # the search for the crop uses multiples of this many pixels
_GAP, _MARGIN, _CAPTION, _TITLE = 16, 32, 54, 52
_PAPER, _INK, _FAINT, _ACCENT = "#ffffff", "#16181d", "#6a7080", "#0b6bcb"


@dataclass(frozen=True)
class Comparison:
    """One image, upscaled by the network and enlarged bicubically.

    ``low`` is (C, h, w); ``bicubic``, ``ours`` and the optional ``original`` are (C, s*h, s*w), at
    the same depth or another. Qualities (of the whole image, by the pipeline's protocol) are None
    without an original, or where the image is too small to measure.
    """

    name: str
    scale: int
    low: Planes
    bicubic: Planes
    ours: Planes
    original: Planes | None
    ours_quality: Quality | None
    bicubic_quality: Quality | None


def compare_planes(
    name: str, low: Planes, ours: Planes, scale: int, original: Planes | None = None
) -> Comparison:
    """Enlarges ``low`` bicubically and, given an original, measures both against it.

    The original may exceed the result at the bottom and right, by what was cropped before reducing.
    A grey result of a colour original is compared with its luma. Raises ``ImageRejectedError`` when
    the original is smaller, or larger by a whole low-resolution pixel, or grey where the result is
    not.
    """
    height, width = low.shape[1] * scale, low.shape[2] * scale
    bicubic = bicubic_rows(low, scale, 0, height)
    if original is None:
        return Comparison(name, scale, low, bicubic, ours, None, None, None)
    surplus = (original.shape[1] - height, original.shape[2] - width)
    if min(surplus) < 0 or max(surplus) >= scale:
        raise ImageRejectedError(
            f"the original has {original.shape[2]} × {original.shape[1]} pixels, but {name} "
            f"upscaled ×{scale} has {width} × {height}; use the image it was reduced from"
        )
    cropped = original[:, :height, :width]
    if ours.shape[0] <= 2 < cropped.shape[0]:
        cropped = _grey(cropped)
    elif cropped.shape[0] <= 2 < ours.shape[0]:
        raise ImageRejectedError(f"the original is grey and {name} is not; use two of one kind")
    qualities = measure_strips([cropped], [ours], low, scale)
    return Comparison(name, scale, low, bicubic, ours, cropped, *qualities)


def _grey(planes: Planes) -> Planes:
    """RGB to grey, as ``imaging.decoding`` does it; alpha is kept."""
    grey = integer_luma(planes[:3]).astype(planes.dtype)
    return np.concatenate([grey[np.newaxis], planes[3:]])


def compare_image(
    name: str, low: Planes, patch_size: int, engine: Engine, original: Planes | None = None
) -> Comparison:
    """Upscales ``low`` (C, h, w) with the network, then calls ``compare_planes``."""
    channels, height, width = low.shape
    info = ImageInfo(width, height, channels, 8 * low.dtype.itemsize)
    tiles = upscale_tiles(split(name, info, low, patch_size), engine)
    ours = np.concatenate(list(strips(tiles)), axis=1)
    return compare_planes(name, low, ours, engine.scale, original)


# ---- the page


def write_page(comparison: Comparison, path: Path, model: str) -> int:
    """Writes the self-contained HTML page and returns its size in bytes.

    ``model`` is the network's name on the page. Images of up to ``LOSSLESS_PIXELS`` are embedded
    losslessly, larger ones as high-quality WebP or JPEG; of an image of more than ``MAX_PIXELS``
    the page shows the middle. The page notes both. Samples of 16 bits are shown with 8.
    """
    content = render_page(comparison, model).encode()
    storage.write_bytes(str(path), content)
    return len(content)


def render_page(comparison: Comparison, model: str) -> str:
    """The page as a string; see ``write_page``."""
    _, height, width = comparison.ours.shape
    window = _middle(height, width)
    shown = {
        "bicubic": comparison.bicubic,
        "ours": comparison.ours,
        "original": comparison.original,
    }
    sources = {
        key: _data_uri(_eight_bits(_cut(planes, window)))
        for key, planes in shown.items()
        if planes is not None
    }
    template = resources.files("superres.quality").joinpath("compare.html").read_text("utf-8")
    values = {
        "name": html.escape(comparison.name),
        "scale": str(comparison.scale),
        "width": str(window.width),
        "height": str(window.height),
        "kind": "alpha" if comparison.ours.shape[0] in (2, 4) else "opaque",
        "facts": _facts(comparison, model),
        "metrics": _metrics(comparison),
        "note": html.escape(_note(window, height, width)),
        # "<" is escaped so that no value can end the script element.
        "sources": json.dumps(sources).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _middle(height: int, width: int) -> Box:
    if height * width <= MAX_PIXELS:
        return Box(0, 0, height, width)
    ratio = math.sqrt(MAX_PIXELS / (height * width))
    rows, columns = max(1, int(height * ratio)), max(1, int(width * ratio))
    top, left = (height - rows) // 2, (width - columns) // 2
    return Box(top, left, top + rows, left + columns)


def _cut(planes: Planes, box: Box) -> Planes:
    return planes[:, box.top : box.bottom, box.left : box.right]


def _eight_bits(planes: Planes) -> Planes:
    if planes.dtype == np.uint8:
        return planes
    return ((planes.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _data_uri(planes: Planes) -> str:
    _, height, width = planes.shape
    if height * width <= LOSSLESS_PIXELS:
        kind, content = "png", encode_png_bytes(planes)
    else:
        picture = _picture(planes)
        stream = io.BytesIO()
        if max(height, width) <= _WEBP_MAX_SIDE:
            kind = "webp"
            picture.save(stream, "WEBP", quality=_WEBP_QUALITY, method=2)
        else:
            kind = "jpeg"
            _on_paper(picture).save(stream, "JPEG", quality=_WEBP_QUALITY, subsampling=0)
        content = stream.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _facts(comparison: Comparison, model: str) -> str:
    _, low_height, low_width = comparison.low.shape
    _, height, width = comparison.ours.shape
    facts = {
        "From": f"{low_width} × {low_height}",
        "To": f"{width} × {height} (×{comparison.scale})",
        "Model": model,
    }
    return "".join(
        f"<div><dt>{key}</dt><dd>{html.escape(value)}</dd></div>" for key, value in facts.items()
    )


def _metrics(comparison: Comparison) -> str:
    ours, bicubic = comparison.ours_quality, comparison.bicubic_quality
    if ours is None or bicubic is None:
        return ""
    gain = ours.psnr - bicubic.psnr
    rows = [
        f"<tr><th scope=row>{label}</th><td>{decibels(quality.psnr, ' dB')}</td>"
        f"<td>{quality.ssim:.4f}</td></tr>"
        for label, quality in (("Bicubic", bicubic), ("FSRCNN", ours))
    ]
    caption = "Measured against the original"
    if math.isfinite(gain):
        caption += f": {gain:+.2f} dB over bicubic"
    return (
        f"<table><caption>{caption}</caption>"
        "<tr><td></td><th scope=col>PSNR</th><th scope=col>SSIM</th></tr>"
        f"{''.join(rows)}</table>"
    )


def _note(window: Box, height: int, width: int) -> str:
    notes = []
    if (window.height, window.width) != (height, width):
        notes.append(f"Showing the middle {window.width} × {window.height} pixels of the image.")
    if window.height * window.width > LOSSLESS_PIXELS:
        notes.append("The images in this page are compressed; the PNG results are exact.")
    return " ".join(notes)


# ---- the picture


def side_by_side(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draws a row per image: the whole image, and a zoomed crop of bicubic, ours and the original.

    The crop is where ours gains most over bicubic or, without an original, differs most from it.
    Writes a PNG, whole or not at all. Raises ``ValueError`` for an empty sequence.
    """
    if not comparisons:
        raise ValueError("nothing to draw")
    rows = [_draw_row(comparison) for comparison in comparisons]
    width = max(row.width for row in rows)
    sheet = Image.new("RGB", (width, sum(row.height for row in rows) + _MARGIN), _PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    storage.write_bytes(str(path), stream.getvalue())


def crop_of_interest(comparison: Comparison, side: int) -> Box:
    """The square of ``side`` pixels (or less, in a smaller image) where ours gains most.

    The gain is the squared error of bicubic's luma minus that of ours, summed over the square;
    without an original, the squared difference of the two.
    """
    ours, bicubic = protocol_luma(comparison.ours), protocol_luma(comparison.bicubic)
    if comparison.original is None:
        gain = np.square(ours - bicubic)
    else:
        truth = protocol_luma(comparison.original)
        gain = np.square(bicubic - truth) - np.square(ours - truth)
    height, width = min(side, gain.shape[0]), min(side, gain.shape[1])
    total = _integral(gain)
    tops = _positions(gain.shape[0] - height)
    lefts = _positions(gain.shape[1] - width)
    sums = (
        total[np.ix_(tops + height, lefts + width)]
        - total[np.ix_(tops, lefts + width)]
        - total[np.ix_(tops + height, lefts)]
        + total[np.ix_(tops, lefts)]
    )
    row, column = np.unravel_index(int(np.argmax(sums)), sums.shape)
    top, left = int(tops[row]), int(lefts[column])
    return Box(top, left, top + height, left + width)


def _positions(last: int) -> NDArray[np.intp]:
    """0 to ``last`` in steps of ``_BLOCK``, the last one included."""
    return np.unique(np.append(np.arange(0, last, _BLOCK), last))


def _integral(plane: FloatPlane) -> NDArray[np.float64]:
    """(h + 1, w + 1) sums over everything above and to the left."""
    total = np.zeros((plane.shape[0] + 1, plane.shape[1] + 1))
    np.cumsum(plane, axis=0, out=total[1:, 1:])
    np.cumsum(total[1:, 1:], axis=1, out=total[1:, 1:])
    return total


def _draw_row(comparison: Comparison) -> Image.Image:
    box = crop_of_interest(comparison, _PANEL // _ZOOM)
    zoom = max(1, _PANEL // max(box.height, box.width))
    panels = [(_whole(comparison.ours, box), "Whole image", "the crop is marked")]
    crops = [
        (comparison.bicubic, "Bicubic", comparison.bicubic_quality),
        (comparison.ours, "Ours", comparison.ours_quality),
    ]
    for planes, label, quality in crops:
        panels.append(
            (_zoomed(planes, box, zoom), label, decibels(quality.psnr, " dB") if quality else "")
        )
    if comparison.original is not None:
        panels.append((_zoomed(comparison.original, box, zoom), "Original", ""))
    width = 2 * _MARGIN + len(panels) * _PANEL + (len(panels) - 1) * _GAP
    row = Image.new("RGB", (width, _MARGIN + _TITLE + _PANEL + _CAPTION), _PAPER)
    draw = ImageDraw.Draw(row)
    _write_title(draw, comparison, width)
    top = _MARGIN + _TITLE
    for index, (picture, label, figure) in enumerate(panels):
        left = _MARGIN + index * (_PANEL + _GAP)
        row.paste(picture, (left, top))
        caption = top + _PANEL + 8
        draw.text((left, caption), label, _INK, _font(19))
        indent = draw.textlength(label, _font(19)) + 10
        colour = _ACCENT if label == "Ours" else _FAINT
        draw.text((left + indent, caption), figure, colour, _font(19))
    return row


def _write_title(draw: ImageDraw.ImageDraw, comparison: Comparison, width: int) -> None:
    _, low_height, low_width = comparison.low.shape
    _, height, image_width = comparison.ours.shape
    # Pillow's font has no multiplication sign.
    detail = f"{low_width} x {low_height} to {image_width} x {height} (x{comparison.scale})"
    if comparison.ours_quality and comparison.bicubic_quality:
        detail += ", PSNR of the whole image"
    room = width - 2 * _MARGIN - draw.textlength(detail, _font(17)) - 24
    name = comparison.name
    while len(name) > 1 and draw.textlength(name, _font(24)) > room:
        name = name[:-2] + "…"
    draw.text((_MARGIN, _MARGIN), name, _INK, _font(24))
    indent = draw.textlength(name, _font(24)) + 16
    # 6 pixels down, so that both font sizes have one baseline.
    draw.text((_MARGIN + indent, _MARGIN + 6), detail, _FAINT, _font(17))


def _whole(planes: Planes, box: Box) -> Image.Image:
    """The image fitted into a panel, the crop framed."""
    picture = _on_paper(_picture(_eight_bits(planes)))
    ratio = _PANEL / max(picture.size)
    size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    left, top = box.left * ratio, box.top * ratio
    right = max(left, box.right * ratio - 1)
    bottom = max(top, box.bottom * ratio - 1)
    # White inside dark: visible on every background.
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_INK)
    draw.rectangle((left, top, right, bottom), outline=_PAPER, width=2)
    return picture


def _zoomed(planes: Planes, box: Box, zoom: int) -> Image.Image:
    picture = _on_paper(_picture(_eight_bits(_cut(planes, box))))
    return picture.resize((box.width * zoom, box.height * zoom), Image.Resampling.NEAREST)


def _picture(planes: Planes) -> Image.Image:
    """(C, h, w) uint8 as a Pillow image in L, LA, RGB or RGBA."""
    interleaved = np.ascontiguousarray(np.moveaxis(planes, 0, -1))
    return Image.fromarray(interleaved[..., 0] if planes.shape[0] == 1 else interleaved)


def _on_paper(picture: Image.Image) -> Image.Image:
    """As RGB, with white behind transparent pixels."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, _PAPER)
    return Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)

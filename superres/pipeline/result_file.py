"""Writes the file of a result as its recipe says: format, metadata and colour profile."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superres import __version__
from superres.imaging.colour import Planes
from superres.imaging.decoding import DecodedImage, decode_file
from superres.imaging.encoding.formats import Encoding
from superres.imaging.encoding.writing import encode
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.metadata.source import Making, SourceMetadata, result_metadata
from superres.pipeline.recipe import Recipe


@dataclass(frozen=True)
class Source:
    """What of a source is needed for the file of its result.

    Attributes:
        info: size of the upright image.
        metadata: what the file says beside its pixels.
        profile: ICC profile of the samples; None if they are in sRGB.
    """

    info: ImageInfo
    metadata: SourceMetadata
    profile: bytes | None = None


def encoding_of(recipe: Recipe) -> Encoding:
    """Format and quality of a recipe."""
    return Encoding(recipe.format, recipe.quality)


def decode_source(file: Path, limits: Limits, recipe: Recipe, page: int | None) -> DecodedImage:
    """Reads the header of a source, whose samples come out as the recipe says.

    A profile of grey is not kept for a format without grey: such samples become sRGB's.

    Raises:
        As ``decode_file``.
    """
    keep_profile = recipe.profile == "keep"
    options: dict[str, Any] = {"grayscale": recipe.grayscale, "page": page}
    image = decode_file(file, limits, keep_profile=keep_profile, **options)
    if image.profile and image.info.colours == 1 and not encoding_of(recipe).kind.has_grey:
        return decode_file(file, limits, **options)
    return image


def write_result(
    strips: Iterable[Planes],
    info: ImageInfo,
    path: Path,
    recipe: Recipe,
    source: Source,
    network: str,
) -> tuple[str, ...]:
    """Writes the file of a result; it appears whole or not at all.

    Args:
        strips: (C, h, W) arrays of ``info.dtype`` from top to bottom.
        info: size, channels and depth of the result.
        path: the file to write, in an existing folder.
        recipe: says format, quality, and what becomes of the metadata.
        source: of the result.
        network: that made it, and its digest, as the history of XMP is to name them.

    Returns:
        What is to be said of the file, a line each.

    Raises:
        As ``superres.imaging.encoding.writing.encode``.
    """
    making = Making(
        source_size=(source.info.width, source.info.height),
        size=(info.width, info.height),
        is_srgb=source.profile is None,
        history=_history(source.info, info, network),
        format=recipe.format,
    )
    metadata, remarks = result_metadata(source.metadata, recipe.metadata, making)
    encode(strips, info, path, encoding_of(recipe), metadata, source.profile)
    return remarks


def _history(before: ImageInfo, after: ImageInfo, network: str) -> dict[str, str]:
    """Fields of XMP's ResourceEvent; without a date, equal results have equal bytes."""
    sizes = f"{before.width} x {before.height} to {after.width} x {after.height} pixels"
    return {
        "action": "resized",
        "softwareAgent": f"superres {__version__}",
        "parameters": f"upscaled from {sizes} with {network}",
    }

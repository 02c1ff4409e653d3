"""Options that say what file a result becomes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from superres.imaging.encoding.formats import FORMATS, SUFFIXES, FormatName
from superres.imaging.files import FOREIGN_SUFFIXES
from superres.imaging.files import SUFFIXES as READABLE
from superres.imaging.metadata.model import Policy
from superres.pipeline.recipe import ProfilePolicy, Recipe

_Decorator = Callable[[Callable[..., None]], Callable[..., None]]
_QUALITIES = ", ".join(
    f"{kind.default_quality} for {kind.label}" for kind in FORMATS.values() if kind.default_quality
)

format_option: _Decorator = click.option(
    "--format",
    "format_name",
    type=click.Choice(get_args(FormatName)),
    help="Format of the results.  [default: by the suffix of --output FILE, else png]",
)
quality_option: _Decorator = click.option(
    "--quality",
    type=click.IntRange(1, 100),
    help=f"Quality of JPEG, WebP and AVIF.  [default: {_QUALITIES}]",
)
metadata_option: _Decorator = click.option(
    "--metadata",
    type=click.Choice(get_args(Policy)),
    default="keep",
    show_default=True,
    help="EXIF, XMP, IPTC, density and georeference: keep all, all but the place, or nothing.",
)
profile_option: _Decorator = click.option(
    "--profile",
    type=click.Choice(get_args(ProfilePolicy)),
    default="srgb",
    show_default=True,
    help="Colours: convert them to sRGB, or keep those of the source's profile.",
)


def with_output(
    recipe: Recipe,
    file: Path | None,
    *,
    format_name: FormatName | None,
    quality: int | None,
    metadata: Policy,
    profile: ProfilePolicy,
) -> Recipe:
    """The recipe with what the options say.

    Args:
        recipe: of everything else.
        file: the result, where it is named; its suffix says the format.
        format_name: None where the option is not given.
        quality: likewise.
        metadata: what becomes of it.
        profile: likewise.

    Raises:
        click.UsageError: the options contradict each other.
    """
    named = SUFFIXES[file.suffix.lower()] if file else None
    chosen = format_name or named or "png"
    if file and named != chosen:
        raise click.UsageError(
            f"--format {chosen} and --output {file} contradict; give the file the suffix"
            f" {FORMATS[chosen].suffix}"
        )
    kind = FORMATS[chosen]
    if quality is not None and kind.default_quality is None:
        raise click.UsageError(
            f"--quality {quality} is for JPEG, WebP and AVIF; {kind.label} loses nothing"
        )
    changed: dict[str, Any] = {
        "format": chosen,
        # The default, said or unsaid, is the same recipe.
        "quality": None if quality == kind.default_quality else quality,
        "metadata": metadata,
        "profile": profile,
    }
    return recipe.model_copy(update=changed)


def named_file(output: Path) -> Path | None:
    """``--output`` where it names a file: it ends as one of a format does, and is no folder.

    Raises ``click.UsageError`` for the suffix of an image that we cannot write.
    """
    suffix = output.suffix.lower()
    if output.is_dir():
        return None
    if suffix in SUFFIXES:
        return output
    if suffix in READABLE | FOREIGN_SUFFIXES:
        kinds = ", ".join(kind.label for kind in FORMATS.values())
        raise click.UsageError(f"--output {output}: {suffix} cannot be written; choose {kinds}")
    return None

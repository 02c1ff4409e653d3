"""Colours of a libvips image to grey or sRGB, of the same depth.

libvips ships no types, so its objects are ``Any`` here and in ``loaders``.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import pyvips

_GREY = ("b-w", "grey16")
_PROFILE = "icc-profile-data"
# A profile that moves no colour by more than one level of 255 is sRGB, whatever its name. Keeping
# the samples is then more exact than a transform, preserves 16-bit values, and is faster.
_SAME_COLOUR = 1


def with_profile(image: Any, profile: bytes | None) -> Any:
    """The image with this ICC profile embedded, or none."""
    image = image.copy()
    if profile is not None:
        image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
    elif image.get_typeof(_PROFILE):
        image.remove(_PROFILE)
    return image


def widened(image: Any, depth: int) -> Any:
    """Video's narrow range to the full range; alpha, which is always full, stays as it is."""
    black, white = (level << (depth - 8) for level in (16, 235))
    gain = (2**depth - 1) / (white - black)
    colours = 1 if image.interpretation in _GREY else 3
    rest = image.bands - colours
    gains, offsets = [gain] * colours + [1.0] * rest, [-black * gain] * colours + [0.0] * rest
    stretched = image.linear(gains, offsets).rint().cast(image.format)
    return stretched.copy(interpretation=image.interpretation)


def to_srgb(image: Any, depth: int) -> Any:
    """Grey stays grey, RGB, CMYK and CIE Lab become sRGB; a profile that fits is applied."""
    if image.interpretation == "labs":
        # TIFF's CIE Lab is relative to the white of ICC's connection space.
        lab = image.colourspace("lab")
        return lab.icc_export(output_profile="srgb", pcs="lab", intent="relative", depth=depth)
    if image.interpretation == "cmyk":
        return _transform(image, depth=depth, input_profile="cmyk")
    grey = image.interpretation in _GREY
    if not image.get_typeof(_PROFILE) or not _profile_matters(image.get(_PROFILE), grey):
        return image
    converted = _transform(image, depth=depth)
    return _one_of_three(converted, image.interpretation) if grey else converted


def _one_of_three(image: Any, interpretation: str) -> Any:
    """Equal channels, with or without alpha, as grey."""
    grey = image[1]
    if image.bands == 4:
        grey = grey.bandjoin(image[3])
    return grey.copy(interpretation=interpretation)


def _transform(image: Any, **options: Any) -> Any:
    # Relative colorimetric with black point compensation is what image editors do by default.
    return image.icc_transform(
        "srgb", embedded=True, intent="relative", black_point_compensation=True, **options
    )


@lru_cache(maxsize=8)  # a transform takes 6 ms to set up, and a few profiles are everywhere
def _profile_matters(profile: bytes, grey: bool) -> bool:
    """Whether an embedded profile is usable for grey or RGB samples and differs from sRGB."""
    samples = _every_grey() if grey else _grid_of_colours()
    image = pyvips.Image.new_from_array(samples).copy(interpretation="b-w" if grey else "srgb")
    try:
        moved = _transform(with_profile(image, profile), depth=8).numpy()
    except pyvips.Error:
        return False  # broken, or made for another colour model: the pixels are still good
    return bool(np.abs(moved.astype(int) - samples).max() > _SAME_COLOUR)


def _every_grey() -> np.ndarray[Any, Any]:
    return np.arange(256, dtype=np.uint8).reshape(1, 256, 1)


def _grid_of_colours() -> np.ndarray[Any, Any]:
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3)

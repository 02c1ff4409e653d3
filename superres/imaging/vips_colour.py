"""Colours of a libvips image to grey or sRGB, of the same depth."""

from functools import lru_cache
from typing import Any

import numpy as np
import pyvips

from superres.imaging.icc import is_costly

_GREY = ("b-w", "grey16")
_PROFILE = "icc-profile-data"
_MOST_PROFILE_BYTES = 8 << 20  # JPEG holds 16 MB at most
# A profile that moves no colour by more than one level of 255 is sRGB, whatever its name. Keeping
# the samples is then more exact than a transform, preserves 16-bit values, and is faster.
_SAME_COLOUR = 1
# What image editors do by default.
_RENDERING = {"intent": "relative", "black_point_compensation": True}


def with_profile(image: Any, profile: bytes | None) -> Any:
    """The image with this ICC profile embedded, or none."""
    image = image.copy()
    if profile is not None:
        image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
    elif image.get_typeof(_PROFILE):
        image.remove(_PROFILE)
    return image


def profile_of(image: Any) -> bytes | None:
    """The embedded ICC profile."""
    return bytes(image.get(_PROFILE)) if image.get_typeof(_PROFILE) else None


def has_usable_profile(image: Any) -> bool:
    """Whether grey or RGB has a profile that is whole and made for it."""
    if image.interpretation in ("labs", "cmyk"):
        return False
    profile = profile_of(image)
    return profile is not None and _is_usable(profile, grey=image.interpretation in _GREY)


@lru_cache(maxsize=8)
def _is_usable(profile: bytes, *, grey: bool) -> bool:
    if len(profile) > _MOST_PROFILE_BYTES:
        return False
    pixel = pyvips.Image.new_from_array(np.zeros((1, 1, 1 if grey else 3), np.uint8))
    pixel = pixel.copy(interpretation="b-w" if grey else "srgb")
    try:
        _through_xyz(with_profile(pixel, profile), 8).numpy()
    except pyvips.Error:
        return False
    return profile[16:20] == (b"GRAY" if grey else b"RGB ")


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
    """Grey stays grey, RGB, CMYK and CIE Lab become sRGB; a profile that fits is applied.

    The result has no profile.
    """
    if image.get_typeof(_PROFILE) and is_costly(image.get(_PROFILE)):
        image = with_profile(image, None)  # as with a profile that is broken
    return with_profile(_converted(image, depth), None)


def _converted(image: Any, depth: int) -> Any:
    if image.interpretation == "labs":
        # TIFF's CIE Lab is relative to the white of ICC's connection space.
        lab = image.colourspace("lab")
        return lab.icc_export(output_profile="srgb", pcs="lab", intent="relative", depth=depth)
    if image.interpretation == "cmyk":
        return _transform(image, depth=depth, input_profile="cmyk")
    if not image.get_typeof(_PROFILE):
        return image
    profile = image.get(_PROFILE)
    if image.interpretation in _GREY:
        return _grey_to_srgb(image, profile, depth)
    if not _profile_matters(profile):
        return image
    return _transform(image, depth=depth) if depth == 8 else _through_xyz(image, depth)


def _grey_to_srgb(image: Any, profile: bytes, depth: int) -> Any:
    levels = _grey_levels(profile, depth)
    if levels is None:
        return image
    table = pyvips.Image.new_from_array(levels)
    grey = image[0].maplut(table).copy(interpretation=image.interpretation)
    return grey.bandjoin(image[1]) if image.bands == 2 else grey


@lru_cache(maxsize=8)
def _grey_levels(profile: bytes, depth: int) -> np.ndarray[Any, Any] | None:
    """(1, 2**depth) levels in sRGB's grey of each level of a grey profile.

    None if the profile is that of sRGB, broken, or made for another colour model: then the samples
    are good as they are.
    """
    every = np.arange(2**depth).astype(f"uint{depth}").reshape(1, -1, 1)
    ramp = pyvips.Image.new_from_array(every)
    ramp = ramp.copy(interpretation="b-w" if depth == 8 else "grey16")
    try:
        srgb = _through_xyz(with_profile(ramp, profile), depth)
        levels: np.ndarray[Any, Any] = srgb.numpy()[..., 1]
    except pyvips.Error:
        return None
    moved = np.abs(levels.astype(int) - every[..., 0]).max()
    return levels if moved > _SAME_COLOUR * (2**depth // 256) else None


def _transform(image: Any, **options: Any) -> Any:
    return image.icc_transform("srgb", embedded=True, **_RENDERING, **options)


def _through_xyz(image: Any, depth: int) -> Any:
    """Like ``_transform``, in floating point and several times slower.

    Directly, Little CMS interpolates grey and 16-bit samples in a table, and is up to ten of 255
    levels off in shadows, twenty in colours that sRGB does not have.
    """
    colours = image[:3] if image.bands == 4 else image
    light = colours.icc_import(embedded=True, pcs="xyz", **_RENDERING)
    srgb = light.icc_export(output_profile="srgb", pcs="xyz", depth=depth, **_RENDERING)
    return srgb.bandjoin(image[3]) if image.bands == 4 else srgb


@lru_cache(maxsize=8)  # a transform takes 6 ms to set up, and a few profiles are everywhere
def _profile_matters(profile: bytes) -> bool:
    """Whether an embedded RGB profile is usable and differs from sRGB."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(9, 81, 3)
    image = pyvips.Image.new_from_array(grid).copy(interpretation="srgb")
    try:
        moved = _transform(with_profile(image, profile), depth=8).numpy()
    except pyvips.Error:
        return False  # broken, or made for another colour model: the pixels are still good
    return bool(np.abs(moved.astype(int) - grid).max() > _SAME_COLOUR)

"""Upscaling in colour against the textbook: Y, Cb, Cr in double precision and back."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.imaging.decoding import decode
from superres.imaging.info import ImageInfo
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.imaging.resample import enlarge_mirroring_edges
from superres.network.tiling import split, strips, with_halo
from superres.network.upscaling import upscale_image, upscale_tiles, upscaled_info
from tests.support.networks import engine_with, noise, random_engine, repeating_engine

STABLE = settings(derandomize=True, deadline=None, max_examples=25)

# ITU-R BT.601 in studio range: R, G, B on [0, 1] to Y on [16, 235], Cb and Cr on [16, 240].
Y = np.array([0.299, 0.587, 0.114])
CB = (np.array([0.0, 0.0, 1.0]) - Y) / (1 - 0.114) / 2
CR = (np.array([1.0, 0.0, 0.0]) - Y) / (1 - 0.299) / 2
TO_YCBCR = np.stack([219 * Y, 224 * CB, 224 * CR])
OFFSET = np.array([16.0, 128.0, 128.0])

scales = st.sampled_from([2, 3, 4])
depths = st.sampled_from([8, 16])
seeds = st.integers(0, 1000)


def upscaled(planes: np.ndarray, engine, patch: int = 512) -> np.ndarray:
    channels, height, width = planes.shape
    info = ImageInfo(width, height, channels, 8 * planes.dtype.itemsize)
    tiles = upscale_tiles(split("image", info, planes, patch), engine)
    return np.concatenate(list(strips(tiles)), axis=1)


def textbook(planes: np.ndarray, engine) -> np.ndarray:
    """(3, h, w) samples to (3, s*h, s*w) levels, not rounded: Y by the network, Cb, Cr bicubic."""
    peak = np.iinfo(planes.dtype).max
    unit = planes.astype(np.float64) / peak
    ycbcr = np.tensordot(TO_YCBCR, unit, axes=1) + OFFSET[:, None, None]
    low = (ycbcr[0] / 255).astype(np.float32)[None, None]
    luma = engine.upscale_luma(with_halo(low))[0, 0] * np.float64(255)
    chroma = [
        enlarge_mirroring_edges(plane.astype(np.float32), engine.scale) for plane in ycbcr[1:]
    ]
    back = np.tensordot(
        np.linalg.inv(TO_YCBCR), np.stack([luma, *chroma]) - OFFSET[:, None, None], axes=1
    )
    return np.clip(back, 0, 1) * peak


@STABLE
@given(scale=scales, depth=depths, seed=seeds)
def test_colour_is_the_textbook_conversion_rounded_once(scale, depth, seed):
    dtype = np.uint8 if depth == 8 else np.uint16
    planes = noise(seed, 3, 24, 19, dtype=dtype)
    engine = random_engine(scale)
    expected = textbook(planes, engine)
    result = upscaled(planes, engine).astype(int)
    assert np.abs(result - np.rint(expected)).max() <= 1
    # float32 against double: 1e-6 of the range is 0.07 of a 16-bit level.
    assert np.mean(result == np.rint(expected)) > (0.999 if depth == 8 else 0.8)


@STABLE
@given(scale=scales, depth=depths, seed=seeds)
def test_grey_in_three_channels_stays_grey(scale, depth, seed):
    grey = noise(seed, 1, 17, 23, dtype=np.uint8 if depth == 8 else np.uint16)
    as_grey = upscaled(grey, random_engine(scale))
    as_colour = upscaled(grey.repeat(3, axis=0), random_engine(scale))
    for channel in as_colour:
        np.testing.assert_array_equal(channel, as_grey[0])


@STABLE
@given(scale=scales, depth=depths, colours=st.sampled_from([1, 3]), seed=seeds)
def test_alpha_is_bicubic_and_leaves_visible_colour_alone(scale, depth, colours, seed):
    planes = noise(seed, colours + 1, 15, 22, dtype=np.uint8 if depth == 8 else np.uint16)
    peak = np.iinfo(planes.dtype).max
    planes[-1] |= peak // 2 + 1  # at least half visible
    result = upscaled(planes, random_engine(scale))
    bicubic = enlarge_mirroring_edges(planes[-1].astype(np.float64), scale)
    # Rounding to a level, and a few roundings of float32.
    assert np.abs(result[-1] - np.clip(bicubic, 0, peak)).max() <= 0.5 + 3e-7 * peak
    np.testing.assert_array_equal(result[:-1], upscaled(planes[:-1], random_engine(scale)))


@STABLE
@given(scale=scales, depth=depths, levels=st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_flat_colour_stays_as_it_is(scale, depth, levels):
    """With a network that repeats its input, nothing may move a flat image by a single level."""
    peak = 2**depth - 1
    samples = np.array([round(level * peak) for level in levels])
    flat = np.broadcast_to(samples[:, None, None], (len(levels), 9, 11))
    planes = flat.astype(np.uint8 if depth == 8 else np.uint16)
    result = upscaled(planes, repeating_engine(scale), patch=5)
    np.testing.assert_array_equal(result, np.broadcast_to(samples[:, None, None], result.shape))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_grey_level_comes_back(channels, dtype):
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(1, -1, 16)
    planes = levels.repeat(channels, axis=0)
    result = upscaled(planes, repeating_engine(2))
    np.testing.assert_array_equal(result[:, ::2, ::2], planes)


@pytest.mark.parametrize("luma", [-3.0, 4.0])
def test_overshoot_is_clipped_not_wrapped(luma):
    engine = engine_with(2, lambda low: np.full([2 * side for side in low.shape], luma, np.float32))
    result = upscaled(noise(0, 3, 8, 8), engine)
    assert (result == (0 if luma < 0 else 255)).all()


@settings(STABLE, max_examples=10)
@given(batch_pixels=st.integers(1, 8000), patch=st.integers(12, 40), seed=seeds)
def test_batches_change_no_pixel_and_no_order(batch_pixels, patch, seed):
    one = random_engine(2)
    calls = []

    def counted(low):
        calls.append(len(low))
        return one.upscale(low)

    many = dataclasses.replace(one, batch_pixels=batch_pixels, upscale=counted)
    planes = noise(seed, 3, 61, 47)
    difference = upscaled(planes, many, patch).astype(int) - upscaled(planes, one, patch)
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) <= 1  # a rounding tie
    tiles = -(-61 // patch) * -(-47 // patch)
    assert sum(calls) == tiles


def test_equal_tiles_share_a_call():
    sizes = []

    def counted(low):
        sizes.append(low.shape)
        return repeating.upscale(low)

    repeating = repeating_engine(2)
    engine = dataclasses.replace(repeating, batch_pixels=1 << 20, upscale=counted)
    upscaled(noise(0, 1, 32, 32 * 6), engine, patch=32)
    assert sizes == [(6, 1, 48, 48)]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_file_is_upscaled_like_its_planes(channels, dtype):
    planes = noise(4, channels, 30, 21, dtype=dtype)
    image = decode(encode_png_bytes(planes), Limits(1 << 20, 1 << 20))
    wanted = upscaled_info(image.info, 3)
    parts = list(upscale_image(image, 16, random_engine(3)))
    result = np.concatenate(parts, axis=1)
    assert result.shape == (wanted.channels, wanted.height, wanted.width) == (channels, 90, 63)
    assert [part.shape[1] for part in parts] == [48, 42]
    np.testing.assert_array_equal(result, upscaled(planes, random_engine(3), 16))

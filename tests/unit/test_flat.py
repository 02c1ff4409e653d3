"""Flat images stay flat: every level, size, kind and scale, also at the image's edges."""

import numpy as np
import pytest

from superres.imaging.info import ImageInfo
from superres.models import CLEAN, NETWORKS, SCALES, default_model_path
from superres.network.engine import Engine, make_engine, torch_engine
from superres.network.reference import fsrcnn
from superres.network.tiling import split, strips
from superres.network.upscaling import upscale_tiles
from superres.network.weights import Weights, load_weights, make_weights
from superres.training.flat import TOLERANCE, flat_errors, keep_flat
from tests.support.networks import random_weights

SIZES = [(1, 1), (1, 7), (9, 2), (17, 33), (64, 48)]
STUDIO_LEVELS = 219  # of luma in studio range, from black to white


def included(scale: int, network: str = CLEAN) -> Engine:
    return make_engine(load_weights(default_model_path(scale, network), scale))


def upscaled(planes: np.ndarray, engine: Engine, patch: int = 512) -> np.ndarray:
    channels, height, width = planes.shape
    info = ImageInfo(width, height, channels, 8 * planes.dtype.itemsize)
    tiles = upscale_tiles(split("image", info, planes, patch), engine)
    return np.concatenate(list(strips(tiles)), axis=1)


def flat(colour: tuple[int, ...], height: int, width: int) -> np.ndarray:
    samples = np.array(colour, np.uint8)[:, None, None]
    return np.tile(samples, (1, height, width))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("colours", [1, 3])
def test_every_level_comes_back(scale, network, colours):
    engine = included(scale, network)
    for level in range(256):
        planes = flat((level,) * colours, 3, 2)
        assert (upscaled(planes, engine) == level).all(), level


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_stays_flat_up_to_its_edges(scale, network, size):
    engine = included(scale, network)
    for colour in [(0,), (3,), (255,), (255, 255, 255), (240, 236, 229), (1, 254, 7)]:
        result = upscaled(flat(colour, *size), engine, patch=20)
        assert (result == flat(colour, 1, 1)).all(), colour


@pytest.mark.parametrize("scale", SCALES)
def test_random_colours_come_back(scale):
    engine = included(scale)
    for colour in np.random.default_rng(0).integers(0, 256, (200, 3)):
        planes = flat(tuple(colour), 2, 2)
        assert (upscaled(planes, engine) == colour[:, None, None]).all(), colour


@pytest.mark.parametrize("scale", SCALES)
def test_torch_keeps_flat_images_flat_too(scale):
    engine = torch_engine(load_weights(default_model_path(scale), scale), "cpu")
    for level in (0, 1, 2, 100, 254, 255):
        assert (upscaled(flat((level,) * 3, 5, 9), engine) == level).all(), level


def test_16_bits_are_off_by_less_than_half_a_level_of_8():
    for level in (0, 1, 300, 30000, 65535):
        result = upscaled(np.full((1, 5, 9), level, np.uint16), included(2)).astype(int)
        assert np.abs(result - level).max() < 257 / 2


# ---- the last touch of a training


def training_leaves(scale: int) -> Weights:
    """Included weights, half a percent brighter: an error of a level at white."""
    weights = load_weights(default_model_path(scale), scale)
    kernel = weights.tensors["deconv.weight"].copy()
    kernel *= np.float32(1.005)
    return make_weights(scale, {**weights.tensors, "deconv.weight": kernel}, "test")


@pytest.mark.parametrize("scale", SCALES)
def test_errors_of_flat_images_are_those_of_the_network(scale):
    weights = training_leaves(scale)
    errors = flat_errors(weights).reshape(-1, scale, scale)
    luma = fsrcnn(weights)
    for index, level in ((0, 16 / 255), (1020, 235 / 255), (510, (16 + 235) / 2 / 255)):
        low = np.full((1, 1), level, np.float32)
        np.testing.assert_allclose(level - luma(low), errors[index], rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_keeping_flat_changes_the_last_layer_alone_and_little(scale):
    weights = training_leaves(scale)
    kept = keep_flat(weights)
    limit = TOLERANCE / 255 * STUDIO_LEVELS / 255
    assert np.abs(flat_errors(weights)).max() > 2 * limit
    assert np.abs(flat_errors(kept)).max() < 1.01 * limit
    changed = {name for name, old in weights.tensors.items() if (kept.tensors[name] != old).any()}
    assert changed == {"deconv.weight"}
    change = kept.tensors["deconv.weight"] - weights.tensors["deconv.weight"]
    assert np.abs(change).max() < 0.02
    again = keep_flat(kept).tensors["deconv.weight"]
    np.testing.assert_allclose(again, kept.tensors["deconv.weight"], rtol=0, atol=1e-4)


def test_weights_that_cannot_be_flat_stay_as_they_are():
    weights = random_weights(2)
    dead = {name: np.zeros_like(array) for name, array in weights.tensors.items()}
    zero = make_weights(2, dead, "test")
    assert keep_flat(zero).digest == zero.digest

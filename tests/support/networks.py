"""Networks for tests: random weights in which every tap counts, and one that changes nothing."""

import math
from functools import cache
from typing import cast

import numpy as np

from superres.imaging.colour import Planes
from superres.network import reference
from superres.network.engine import Batch, Engine, make_engine
from superres.network.weights import FEATURES, HALO, Weights, expected_shapes, make_weights


@cache
def random_weights(scale: int, seed: int = 0) -> Weights:
    """Weights whose output is about 0.5 ± 0.2 and depends on every pixel in the network's reach.

    Trained weights hardly look at the rim of their reach; these do, so a halo that is a pixel too
    narrow shows.
    """
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes().items():
        if len(shape) == 4:
            fan_in = math.prod(shape[1:]) if name != "deconv.weight" else FEATURES * 81 / scale**2
            tensors[name] = random.normal(0, 1 / math.sqrt(fan_in), shape)
        elif name.endswith("bias"):
            tensors[name] = random.normal(0, 0.1, shape)
        else:  # the slopes of PReLU
            tensors[name] = random.uniform(0.25, 1, shape)
    tensors["deconv.weight"] *= 0.5
    tensors["deconv.bias"] = np.array([0.5])
    return make_weights(scale, tensors, "random")


@cache
def random_engine(scale: int) -> Engine:
    return make_engine(random_weights(scale))


def engine_with(scale: int, luma: reference.Luma) -> Engine:
    """The reference arithmetic around another network."""
    border = scale * HALO
    inner = np.s_[..., border:-border, border:-border]

    def upscale(low: Planes) -> Planes:
        return cast(Planes, np.stack([reference.upscale(each, scale, luma)[inner] for each in low]))

    def upscale_luma(low: Batch) -> Batch:
        return np.stack([luma(each)[np.newaxis] for each in low[:, 0]])[inner]

    return Engine(scale, "test", 1, upscale, upscale_luma)


def repeating_engine(scale: int) -> Engine:
    """An engine whose luma is the nearest input pixel, so that expected values are plain to see."""
    return engine_with(scale, lambda low: low.repeat(scale, axis=0).repeat(scale, axis=1))


def noise(seed: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Samples that use the whole range of ``dtype``."""
    random = np.random.default_rng(seed)
    return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)

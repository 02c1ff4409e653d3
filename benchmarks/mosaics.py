"""Input for the benchmarks: distinct images of real content, cut from scikit-image's photographs.

An image is a mosaic of cells, each a random, perhaps mirrored and slightly brighter or darker crop
of a random photograph at its own resolution. So the content is that of photographs (noise would be
hard on every encoder, gradients easy), all images differ, and all cost about the same.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from superres.imaging.samples import sample_images

CELL_HEIGHT, CELL_WIDTH = 270, 320  # 960 x 540 is two rows of three
JPEG_QUALITY = 90

Pixels = NDArray[np.uint8]


def load_samples() -> list[Pixels]:
    """The sample images of at least the size of a cell, as (h, w, 3) arrays."""
    loaded = [np.asarray(Image.open(path).convert("RGB")) for path in sample_images()]
    return [one for one in loaded if one.shape[0] >= CELL_HEIGHT and one.shape[1] >= CELL_WIDTH]


def mosaic(samples: list[Pixels], width: int, height: int, seed: int) -> Pixels:
    """A (height, width, 3) image of cells; the same for the same seed."""
    random = np.random.default_rng(seed)
    canvas = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, CELL_HEIGHT):
        for left in range(0, width, CELL_WIDTH):
            target = canvas[top : top + CELL_HEIGHT, left : left + CELL_WIDTH]
            sample = samples[int(random.integers(len(samples)))]
            target[...] = _cell(sample, random)[: target.shape[0], : target.shape[1]]
    return canvas


def _cell(sample: Pixels, random: np.random.Generator) -> Pixels:
    top = int(random.integers(sample.shape[0] - CELL_HEIGHT + 1))
    left = int(random.integers(sample.shape[1] - CELL_WIDTH + 1))
    crop = sample[top : top + CELL_HEIGHT, left : left + CELL_WIDTH]
    crop = crop[:: random.choice((-1, 1)), :: random.choice((-1, 1))]
    brightness = np.arange(256) * random.uniform(0.85, 1.15)
    levels: Pixels = brightness.clip(0, 255).astype(np.uint8)
    return levels[crop]


def write_jpeg(pixels: Pixels, path: Path) -> None:
    """Writes a baseline JPEG as of a camera or Picsum: quality 90, colour at half resolution."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=JPEG_QUALITY, subsampling="4:2:0")


def write_mosaics(folder: Path, count: int, width: int, height: int) -> None:
    """Writes JPEG files named like image_ids; the first ones are the same for any count."""
    samples = load_samples()
    for index in range(count):
        pixels = mosaic(samples, width, height, seed=index)
        write_jpeg(pixels, folder / f"{index:032x}.jpg")

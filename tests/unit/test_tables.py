"""The tables between the jobs: rows to Arrow batches and back."""

import numpy as np
import pytest

from jobs.tables import (
    BATCH_BYTES,
    ReconstructedImage,
    Timed,
    batches_to_images,
    batches_to_tiles,
    images_to_batches,
    tiles_to_batches,
)
from superres.imaging.info import ImageInfo
from superres.models import CLEAN
from superres.network.tiling import split


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_tiles_keep_every_value(channels: int, bit_depth: int) -> None:
    info = ImageInfo(41, 29, channels, bit_depth)
    shape = (channels, info.height, info.width)
    planes = np.empty(shape, np.uint8) if bit_depth == 8 else np.empty(shape, np.uint16)
    planes[...] = np.random.default_rng(0).integers(0, 2**bit_depth, shape)
    tiles = [Timed(tile, "jpeg-66-83", 0.5) for tile in split("a" * 32, info, planes, 16)]
    back = list(batches_to_tiles(tiles_to_batches(tiles)))
    assert len(back) == len(tiles) == 6
    for before, after in zip(tiles, back, strict=True):
        assert (after.tile.row, after.tile.column) == (before.tile.row, before.tile.column)
        assert after.tile.info == info
        assert after.network == "jpeg-66-83"
        assert after.tile.planes.dtype == info.dtype
        assert np.array_equal(after.tile.planes, before.tile.planes)


def test_a_batch_stays_small() -> None:
    info = ImageInfo(4096, 4096, 1, 8)
    planes = np.zeros((1, 4096, 4096), np.uint8)
    tiles = (Timed(tile, CLEAN, 0.0) for tile in split("a" * 32, info, planes, 1024))
    sizes = [batch.nbytes for batch in tiles_to_batches(tiles)]
    assert len(sizes) > 1
    assert max(sizes) < BATCH_BYTES * 1.01


def test_reconstructed_images_round_trip() -> None:
    image = ReconstructedImage("a" * 32, "s3://bucket/a.png", 20, 10, 4, 1.25, CLEAN, "digest")
    assert list(batches_to_images(images_to_batches([image]))) == [image]

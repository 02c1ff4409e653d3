"""Tiles join to exactly what whole-image inference gives, whatever the image and the patch."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.errors import IncompleteImageError
from superres.imaging.info import ImageInfo
from superres.network.engine import Engine, make_engine, torch_engine
from superres.network.tiling import Grid, Tile, split, strips, with_halo
from superres.network.upscaling import upscale_tiles
from superres.network.weights import HALO, reach
from tests.support.networks import noise, random_engine, random_weights

STABLE = settings(derandomize=True, deadline=None, max_examples=40)

sides = st.one_of(st.integers(1, 12), st.integers(1, 64))
patches = st.one_of(st.integers(5, 12), st.integers(5, 80))
scales = st.sampled_from([2, 3, 4])
channels = st.sampled_from([1, 2, 3, 4])
depths = st.sampled_from([8, 16])
seeds = st.integers(0, 2**32 - 1)


def random_luma(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width), np.float32)


def stitched(luma: np.ndarray, patch: int, engine: Engine) -> np.ndarray:
    """Tile by tile through the engine, in float."""
    height, width = luma.shape
    grid = Grid(height, width, patch)
    scale = engine.scale
    padded = np.pad(luma, HALO, mode="symmetric")
    joined = np.full((height * scale, width * scale), np.nan, np.float32)
    for row in range(grid.rows):
        for column in range(grid.columns):
            inner = grid.inner(row, column)
            low = padded[inner.top : inner.bottom + 2 * HALO, inner.left : inner.right + 2 * HALO]
            joined[
                inner.top * scale : inner.bottom * scale, inner.left * scale : inner.right * scale
            ] = engine.upscale_luma(low[np.newaxis, np.newaxis])[0, 0]
    return joined


def seam_error(luma: np.ndarray, patch: int, engine: Engine) -> float:
    whole = engine.upscale_luma(with_halo(luma[np.newaxis, np.newaxis]))[0, 0]
    return float(np.abs(stitched(luma, patch, engine) - whole).max())


@STABLE
@given(height=sides, width=sides, patch=patches, scale=scales, seed=seeds)
def test_stitched_luma_equals_whole_image_inference(height, width, patch, scale, seed):
    luma = random_luma(seed, height, width)
    assert seam_error(luma, patch, random_engine(scale)) <= 1e-5


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (50, 1), (17, 16), (16, 33)])
def test_the_smallest_and_narrowest_images_have_no_seams(height, width, scale):
    assert seam_error(random_luma(1, height, width), 16, random_engine(scale)) <= 1e-5


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("library", ["cpu", "torch"])
def test_the_halo_is_as_wide_as_the_network_reaches(scale, library):
    """A pixel of the halo changes the result as far inside as ``reach`` says, and no further."""
    weights = random_weights(scale)
    engine = make_engine(weights) if library == "cpu" else torch_engine(weights, "cpu")
    low = random_luma(2, 40, 40)[np.newaxis, np.newaxis]
    result = engine.upscale_luma(low)
    for distance in range(HALO):  # of the changed pixel from the edge of the halo
        depths = []
        for row, inwards in ((distance, 1), (-1 - distance, -1)):
            changed = low.copy()
            changed[0, 0, row, 20] += 1
            difference = np.abs(engine.upscale_luma(changed) - result)[0, 0, ::inwards]
            rows = np.flatnonzero((difference > 1e-6).any(axis=1))
            depths.append(rows.max(initial=-1) // scale + 1)
        assert max(depths) == max(distance + reach(scale) - HALO + 1, 0)


@pytest.mark.parametrize(("scale", "pixels"), [(2, 8), (3, 8), (4, 7)])
def test_the_network_reaches_no_further_than_the_halo(scale, pixels):
    assert reach(scale) == pixels <= HALO


def joined(planes: np.ndarray, info: ImageInfo, patch: int, engine: Engine) -> np.ndarray:
    tiles = upscale_tiles(split("image", info, planes, patch), engine)
    return np.concatenate(list(strips(tiles)), axis=1)


@STABLE
@given(
    height=sides, width=sides, patch=patches, scale=scales, count=channels, depth=depths, seed=seeds
)
def test_stitched_samples_equal_the_whole_image(height, width, patch, scale, count, depth, seed):
    info = ImageInfo(width, height, count, depth)
    planes = noise(seed, count, height, width, dtype=info.dtype.type)
    engine = random_engine(scale)
    tiled = joined(planes, info, patch, engine)
    whole = joined(planes, info, max(height, width), engine)
    assert tiled.dtype == info.dtype
    assert tiled.shape == whole.shape == (count, height * scale, width * scale)
    difference = np.abs(tiled.astype(int) - whole)
    # A rounding tie may fall either way: 1e-6 of float noise is 0.07 of a 16-bit level.
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= (1 if depth == 8 else 0.05 * difference.size + 1)


@STABLE
@given(height=st.integers(1, 300), width=st.integers(1, 300), patch=st.integers(1, 300))
def test_tiles_cover_every_pixel_once(height, width, patch):
    grid = Grid(height, width, patch)
    covered = np.zeros((height, width), int)
    for row in {0, grid.rows // 2, grid.rows - 1}:
        for column in range(grid.columns):
            box = grid.inner(row, column)
            covered[box.top : box.bottom, box.left : box.right] += 1
    rows = {0, grid.rows // 2, grid.rows - 1}
    wanted = [line // patch in rows for line in range(height)]
    assert (covered[wanted] == 1).all()
    assert not covered[np.logical_not(wanted)].any()


@STABLE
@given(height=sides, width=sides, patch=st.integers(1, 80), seed=seeds)
def test_split_tiles_carry_their_pixels_and_a_halo(height, width, patch, seed):
    """The halo has the pixels around, and beyond the image its mirror image."""
    info = ImageInfo(width, height, 1, 8)
    planes = noise(seed, 1, height, width)
    whole = np.pad(planes, ((0, 0), (HALO, HALO), (HALO, HALO)), mode="symmetric")
    for tile in split("image", info, planes, patch):
        inner = tile.grid.inner(tile.row, tile.column)
        rows = slice(inner.top, inner.bottom + 2 * HALO)
        columns = slice(inner.left, inner.right + 2 * HALO)
        np.testing.assert_array_equal(tile.planes, whole[:, rows, columns])


def test_tiles_inside_an_image_are_not_copied():
    info = ImageInfo(96, 96, 3, 8)
    planes = noise(0, 3, 96, 96)
    copied = [
        tile.row * 3 + tile.column
        for tile in split("image", info, planes, 32)
        if not np.shares_memory(tile.planes, planes)
    ]
    assert copied == [0, 1, 2, 3, 5, 6, 7, 8]


# ---- incomplete sets


def upscaled_tiles(rows: int = 3, columns: int = 2) -> list[Tile]:
    """Tiles of a 2-pixel patch at scale 1, each filled with its number."""
    info = ImageInfo(2 * columns, 2 * rows, 1, 8)
    return [
        Tile("some-image", info, 2, n // columns, n % columns, np.full((1, 2, 2), n, np.uint8))
        for n in range(rows * columns)
    ]


def test_strips_come_as_soon_as_a_row_is_complete():
    produced = iter(upscaled_tiles())
    first = next(strips(produced))
    assert first.tolist() == [[[0, 0, 1, 1], [0, 0, 1, 1]]]
    assert next(produced).row == 1


@pytest.mark.parametrize("missing", range(6))
def test_a_missing_tile_is_refused(missing):
    tiles = upscaled_tiles()
    del tiles[missing]
    with pytest.raises(IncompleteImageError) as caught:
        list(strips(tiles))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"some-image: tile {missing + 1} of 6 is missing")


def test_no_tiles_at_all_are_refused():
    with pytest.raises(IncompleteImageError, match="no tile"):
        list(strips([]))


@STABLE
@given(repeats=st.lists(st.integers(1, 3), min_size=6, max_size=6))
def test_a_directly_repeated_tile_counts_once(repeats):
    tiles = upscaled_tiles()
    repeated = [tile for tile, count in zip(tiles, repeats, strict=True) for _ in range(count)]
    np.testing.assert_array_equal(
        np.concatenate(list(strips(repeated))), np.concatenate(list(strips(tiles)))
    )


@STABLE
@given(order=st.permutations(range(6)))
def test_tiles_out_of_order_are_refused(order):
    tiles = upscaled_tiles()
    shuffled = [tiles[n] for n in order]
    if list(order) == sorted(order):
        assert len(list(strips(shuffled))) == 3
    else:
        with pytest.raises(IncompleteImageError, match="missing or out of order"):
            list(strips(shuffled))


def test_a_stray_tile_after_the_last_is_refused():
    tiles = upscaled_tiles()
    with pytest.raises(IncompleteImageError, match="tile 1 is repeated"):
        list(strips([*tiles, tiles[0]]))


def test_tiles_of_another_image_or_grid_are_refused():
    tiles = upscaled_tiles()
    other = dataclasses.replace(tiles[3], image_id="other")
    regridded = dataclasses.replace(tiles[3], patch_size=3)
    for stranger in (other, regridded):
        with pytest.raises(IncompleteImageError, match="another"):
            list(strips([*tiles[:3], stranger, *tiles[4:]]))

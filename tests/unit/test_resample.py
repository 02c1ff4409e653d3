"""Bicubic resampling against MATLAB's imresize, written anew from its definition, and Set5."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.imaging.colour import protocol_luma
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.imaging.resample import (
    crop_to_multiple,
    enlarge_plane,
    enlarge_plane_rows,
    reduce_planes,
    resize_plane,
)
from superres.quality.metrics import compare, mean_quality
from tests.support.networks import noise
from tests.support.paths import ROOT

STABLE = settings(derandomize=True, deadline=None)
DATASETS = Path(os.environ.get("SUPERRES_DATASETS") or ROOT.parent / "shared" / "datasets")


def keys_cubic(x: float) -> float:
    """The interpolating cubic with a = -0.5 (Keys, 1981, equation 15)."""
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    if x <= 2:
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return 0.0


def imresize_matrix(inputs: int, outputs: int) -> np.ndarray:
    """imresize along one side: pixel centres, widening when reducing, mirrored borders."""
    scale = outputs / inputs
    stretch = max(1.0, 1 / scale)
    matrix = np.zeros((outputs, inputs))
    for row in range(outputs):
        centre = (row + 0.5) / scale - 0.5
        weights: dict[int, float] = {}
        for position in range(
            math.floor(centre - 2 * stretch), math.ceil(centre + 2 * stretch) + 1
        ):
            mirrored = position % (2 * inputs)
            mirrored = min(mirrored, 2 * inputs - 1 - mirrored)
            weight = keys_cubic((position - centre) / stretch)
            weights[mirrored] = weights.get(mirrored, 0.0) + weight
        total = sum(weights.values())
        for column, weight in weights.items():
            matrix[row, column] += weight / total
    return matrix


def imresize(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    vertical = imresize_matrix(plane.shape[0], height)
    horizontal = imresize_matrix(plane.shape[1], width)
    return vertical @ plane.astype(np.float64) @ horizontal.T


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_reduction_is_imresize_away_from_borders(scale):
    plane = noise(0, 60 * scale, 48 * scale).astype(np.float32)
    ours, theirs = resize_plane(plane, 60, 48), imresize(plane, 60, 48)
    inner = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(ours[inner], theirs[inner], rtol=0, atol=1e-3)
    # At the border Pillow renormalises where imresize mirrors: near, not equal, even on noise.
    assert np.abs(ours - theirs).mean() < 0.5


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlargement_is_imresize_away_from_borders(scale):
    plane = noise(1, 31, 45).astype(np.float32)
    ours = enlarge_plane(plane, scale)
    theirs = imresize(plane, 31 * scale, 45 * scale)
    inner = np.s_[2 * scale : -2 * scale, 2 * scale : -2 * scale]
    np.testing.assert_allclose(ours[inner], theirs[inner], rtol=0, atol=1e-3)


@STABLE
@given(data=st.data(), scale=st.sampled_from([2, 3, 4]), height=st.integers(1, 40))
def test_enlarged_rows_are_those_of_the_whole(data, scale, height):
    top = data.draw(st.integers(0, height * scale - 1))
    bottom = data.draw(st.integers(top + 1, height * scale))
    plane = noise(height, height, 7).astype(np.float32)
    np.testing.assert_allclose(
        enlarge_plane_rows(plane, scale, top, bottom),
        enlarge_plane(plane, scale)[top:bottom],
        rtol=0,
        atol=1e-4,
    )


@STABLE
@given(level=st.integers(0, 65535), height=st.integers(1, 30), width=st.integers(1, 30))
def test_a_constant_stays_constant(level, height, width):
    plane = np.full((height, width), level, np.float32)
    np.testing.assert_allclose(enlarge_plane(plane, 3), level, rtol=1e-6, atol=1e-6)


@STABLE
@given(
    scale=st.sampled_from([2, 3, 4]),
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    depth=st.sampled_from([np.uint8, np.uint16]),
)
def test_reduced_samples_are_the_rounded_reduction_of_the_crop(scale, height, width, depth):
    planes = noise(height, 3, height, width, dtype=depth)
    reduced = reduce_planes(planes, scale)
    assert reduced.dtype == depth
    assert reduced.shape == (3, height // scale, width // scale)
    crop = planes[:, : height // scale * scale, : width // scale * scale]
    for low, high in zip(reduced, crop, strict=True):
        wanted = np.clip(resize_plane(high.astype(np.float32), *low.shape), 0, np.iinfo(depth).max)
        assert np.abs(low - wanted).max() <= 0.5


def test_overshoot_is_clipped_not_wrapped():
    stripes = np.zeros((1, 40, 40), np.uint8)
    stripes[:, :, 17:] = 255
    steps = reduce_planes(stripes, 2)[0, 10].astype(int)
    assert (np.diff(steps) >= 0).all()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_crop_keeps_the_top_left(scale):
    planes = noise(0, 2, 13, 23)
    cropped = crop_to_multiple(planes, scale)
    assert cropped.shape == (2, 13 - 13 % scale, 23 - 23 % scale)
    np.testing.assert_array_equal(cropped, planes[:, : cropped.shape[1], : cropped.shape[2]])


@pytest.mark.parametrize(("scale", "psnr", "ssim"), [
    (2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104),
])  # fmt: skip
def test_bicubic_on_set5_measures_as_in_the_literature(scale, psnr, ssim):
    folder = DATASETS / "Set5"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here; set SUPERRES_DATASETS to the folder that contains Set5")
    qualities = []
    for file in sorted(folder.glob("*.png")):
        # MATLAB's rgb2ycbcr rounds luma to whole levels.
        luma = np.rint(protocol_luma(decode_file(file, Limits(1 << 24, 1 << 24)).planes()))
        truth = crop_to_multiple(luma, scale).astype(np.float32)
        low = resize_plane(truth, truth.shape[0] // scale, truth.shape[1] // scale)
        enlarged = np.clip(np.rint(enlarge_plane(low, scale)), 0, 255)
        (quality,) = compare(truth, enlarged, shave=scale)
        assert quality is not None
        qualities.append(quality)
    assert len(qualities) == 5
    assert mean_quality(qualities).psnr == pytest.approx(psnr, abs=0.02)
    assert mean_quality(qualities).ssim == pytest.approx(ssim, abs=0.0005)

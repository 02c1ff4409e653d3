"""PSNR against its formula and SSIM against scikit-image, whole and in strips."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from superres.quality.metrics import Quality, QualityMeter, compare, mean_quality, psnr_of
from tests.support.networks import noise

STABLE = settings(derandomize=True, deadline=None, max_examples=40)


def textured(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth shapes with some grain, on [0, 255]: what SSIM was made for."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    smooth = 128 + 90 * np.sin(rows / 7 + seed) * np.cos(columns / 5)
    return np.clip(smooth + random.normal(0, 8, (height, width)), 0, 255).astype(np.float32)


def disturbed(truth: np.ndarray, seed: int, amount: float) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, amount, truth.shape)
    return np.clip(truth + grain, 0, 255).astype(np.float32)


def reference_ssim(truth: np.ndarray, candidate: np.ndarray) -> float:
    """Wang's SSIM in double precision, over the windows that lie wholly inside."""
    _, similarity = structural_similarity(
        truth.astype(np.float64),
        candidate.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        full=True,
    )
    return float(similarity[5:-5, 5:-5].mean())


@pytest.mark.parametrize("amount", [0.5, 5, 50])
@pytest.mark.parametrize("shave", [0, 2, 4])
def test_psnr_is_the_formula_on_the_shaved_image(shave, amount):
    truth = textured(1, 40, 50)
    candidate = disturbed(truth, 2, amount)
    (quality,) = compare(truth, candidate, shave=shave)
    inner = np.s_[shave : 40 - shave, shave : 50 - shave]
    error = truth[inner].astype(np.float64) - candidate[inner]
    assert quality.psnr == pytest.approx(10 * np.log10(255**2 / np.mean(error**2)), abs=1e-4)


@STABLE
@given(
    height=st.integers(11, 60),
    width=st.integers(11, 60),
    amount=st.sampled_from([0.1, 1, 10, 60]),
    seed=st.integers(0, 1000),
)
def test_ssim_is_that_of_scikit_image(height, width, amount, seed):
    truth = textured(seed, height, width)
    candidate = disturbed(truth, seed + 1, amount)
    (quality,) = compare(truth, candidate, shave=0)
    assert quality.ssim == pytest.approx(reference_ssim(truth, candidate), abs=1e-4)


@pytest.mark.parametrize("level", [0, 1, 127, 254, 255])
def test_ssim_holds_on_flat_images(level):
    """Variances are differences of squares: where they cancel, float32 could make noise of them."""
    truth = np.full((64, 64), level, np.float32)
    candidate = truth.copy()
    candidate[::2] += 1 if level < 255 else -1
    (quality,) = compare(truth, candidate, shave=0)
    assert quality.ssim == pytest.approx(reference_ssim(truth, candidate), abs=1e-4)


def test_equal_images_are_perfect():
    truth = textured(3, 30, 30)
    (quality,) = compare(truth, truth.copy(), shave=2)
    assert quality.psnr == math.inf
    assert quality.ssim == pytest.approx(1, abs=1e-6)


@STABLE
@given(
    heights=st.lists(st.integers(1, 25), min_size=1, max_size=12),
    width=st.integers(1, 40),
    seed=st.integers(0, 100),
)
def test_strips_of_any_height_measure_the_same_as_the_whole(heights, width, seed):
    truth = textured(seed, sum(heights), width)
    candidates = [disturbed(truth, seed + 1, 3), disturbed(truth, seed + 2, 30)]
    meter = QualityMeter(2)
    for bottom, height in zip(np.cumsum(heights), heights, strict=True):
        rows = slice(bottom - height, bottom)
        meter.add(truth[rows], *(candidate[rows] for candidate in candidates))
    whole = compare(truth, *candidates, shave=0)
    for one, other in zip(meter.results(), whole, strict=True):
        assert (one is None) == (other is None) == (min(truth.shape) < 11)
        if one is not None and other is not None:
            assert one.psnr == pytest.approx(other.psnr, abs=1e-6)
            assert one.ssim == pytest.approx(other.ssim, abs=1e-6)


@pytest.mark.parametrize(("height", "width", "shave"), [(10, 50, 0), (50, 10, 0), (14, 50, 2)])
def test_an_image_below_one_window_has_no_quality(height, width, shave):
    truth = noise(0, height, width).astype(np.float32)
    assert compare(truth, truth, shave=shave) == [None]


@pytest.mark.parametrize("side", range(1, 9))
def test_a_border_that_takes_everything_leaves_no_quality(side):
    truth = np.zeros((side, side), np.float32)
    assert compare(truth, truth, shave=4) == [None]


def test_psnr_of_known_errors():
    assert psnr_of(0) == math.inf
    assert psnr_of(255**2) == 0
    assert psnr_of(65.025) == pytest.approx(30)


def test_means_are_taken_in_decibels():
    mean = mean_quality([Quality(30, 0.8), Quality(40, 0.9)])
    assert mean.psnr == pytest.approx(35)
    assert mean.ssim == pytest.approx(0.85)

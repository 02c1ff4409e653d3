"""Luma against the textbook's matrices, in double precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.imaging.colour import full_luma, protocol_luma, studio, to_unit
from tests.support.networks import noise

STABLE = settings(derandomize=True, deadline=None)


def textbook_studio_luma(planes: np.ndarray) -> np.ndarray:
    """Y of ITU-R BT.601 on [16, 235], as MATLAB's rgb2ycbcr documents it."""
    red, green, blue = planes[:3].astype(np.float64) / np.iinfo(planes.dtype).max
    return 16 + 65.481 * red + 128.553 * green + 24.966 * blue


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colour_is_measured_in_studio_luma(dtype):
    planes = noise(0, 3, 40, 30, dtype=dtype)
    luma = protocol_luma(planes)
    assert luma.dtype == np.float32
    np.testing.assert_allclose(luma, textbook_studio_luma(planes), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("dtype", "peak"), [(np.uint8, 255), (np.uint16, 65535)])
def test_grey_is_measured_as_it_is(dtype, peak):
    planes = noise(0, 1, 9, 7, dtype=dtype)
    np.testing.assert_allclose(protocol_luma(planes), planes[0] * (255 / peak), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_an_image_with_alpha_is_measured_over_mid_grey(channels, dtype):
    planes = noise(0, channels, 9, 7, dtype=dtype)
    peak = np.iinfo(dtype).max
    alpha = planes[-1] / peak
    over_grey = planes[:-1] / peak * alpha + 0.5 * (1 - alpha)
    if channels == 2:
        expected = over_grey[0] * 255
    else:
        expected = 16 + np.tensordot([65.481, 128.553, 24.966], over_grey, axes=1)
    np.testing.assert_allclose(protocol_luma(planes), expected, rtol=0, atol=1e-3)


def test_black_and_white_reach_the_ends_of_both_ranges():
    ends = to_unit(np.array([[0, 255]], np.uint8))
    np.testing.assert_allclose(ends, [[0, 1]], rtol=0, atol=1e-7)
    np.testing.assert_allclose(studio(ends) * 255, [[16, 235]], rtol=0, atol=1e-4)


@STABLE
@given(level=st.integers(0, 65535))
def test_luma_of_grey_is_exactly_its_level(level):
    plane = np.full((1, 1), level, np.float32)
    assert full_luma(plane, plane, plane)[0, 0] == level


@STABLE
@given(red=st.integers(0, 255), green=st.integers(0, 255), blue=st.integers(0, 255))
def test_luma_stays_within_the_samples(red, green, blue):
    luma = full_luma(*(np.full((1, 1), level, np.float32) for level in (red, green, blue)))[0, 0]
    assert min(red, green, blue) - 1e-4 <= luma <= max(red, green, blue) + 1e-4

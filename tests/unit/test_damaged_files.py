"""Whatever is done to a file, it is read or rejected, with one line."""

import warnings
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.errors import ImageRejectedError
from superres.imaging.decoding import check, decode
from superres.imaging.jpeg import jpeg_quality
from superres.imaging.limits import Limits
from tests.support.image_corpus import corpus, damaged

LIMITS = Limits(max_bytes=10**7, max_pixels=10**6)
GOOD = corpus()


@pytest.mark.parametrize("name", GOOD)
def test_what_is_whole_is_read(name: str) -> None:
    check(GOOD[name], LIMITS)
    image = decode(GOOD[name], LIMITS)
    assert image.planes().shape[1:] in ((40, 48), (48, 40))  # upright


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(sorted(GOOD)),
    seed=st.integers(0, 2**32),
    page=st.sampled_from([None, None, 2]),
)
def test_damage_ends_in_an_image_or_a_rejection(name: str, seed: int, page: int | None) -> None:
    data = damaged(GOOD[name], Random(seed))
    quality = jpeg_quality(data)
    assert quality is None or 1 <= quality <= 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            check(data, LIMITS)
            image = decode(data, LIMITS, page=page)
            shape = image.planes().shape
        except ImageRejectedError as error:
            lines = len(str(error).splitlines())
        else:
            lines = 1
            assert shape == (image.info.channels, image.info.height, image.info.width)
    assert lines == 1

"""Hidden colour never shows: not in what is upscaled, enlarged, reduced or measured."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from superres.imaging.alpha import fill_hidden
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.imaging.resample import reduce_planes, resize_plane
from superres.models import default_model_path
from superres.network.engine import make_engine
from superres.network.tiling import split
from superres.network.upscaling import upscale_image
from superres.network.weights import load_weights
from superres.quality.evaluation import bicubic_rows
from tests.support.networks import noise

STABLE = settings(derandomize=True, deadline=None, max_examples=25)
ANY_SIZE = Limits(1 << 30, 1 << 30)
HIDDEN_AND_VISIBLE = [
    ((0, 0, 0), (240, 236, 229)),
    ((255, 255, 255), (20, 20, 20)),
    ((255, 0, 255), (60, 140, 60)),
]


def disc(side: int = 96, soft: float = 1.0) -> np.ndarray:
    """Alpha of a disc in the middle, 8 bits, whose edge is ``soft`` pixels wide."""
    rows, columns = np.mgrid[0:side, 0:side] - (side - 1) / 2
    inside = np.clip((0.35 * side - np.hypot(rows, columns)) / soft + 0.5, 0, 1)
    return np.rint(255 * inside).astype(np.uint8)


def cut_out(hidden: tuple[int, ...], visible: tuple[int, ...], alpha: np.ndarray) -> np.ndarray:
    """(C + 1, h, w): one colour where anything is visible, another where nothing is."""
    colours = [np.where(alpha > 0, v, h) for h, v in zip(hidden, visible, strict=True)]
    return np.stack([*colours, alpha]).astype(np.uint8)


def encoded(planes: np.ndarray, kind: str) -> bytes:
    """As PNG of 8 or 16 bits, or as a GIF whose key colour is the hidden one."""
    if kind == "png16":
        return encode_png_bytes(planes.astype(np.uint16) * 257)
    if kind == "png":
        return encode_png_bytes(planes)
    visible = planes[-1] > 127
    picture = Image.fromarray(visible.astype(np.uint8), "P")
    corner, middle = planes[:3, 0, 0], planes[:3, 48, 48]
    picture.putpalette([*corner.tolist(), *middle.tolist()])
    stream = io.BytesIO()
    picture.save(stream, "GIF", transparency=0)
    return stream.getvalue()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", ["png", "png16", "gif"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize(("hidden", "visible"), HIDDEN_AND_VISIBLE)
def test_a_cut_out_keeps_its_colour(hidden, visible, colours, kind, scale):
    """One level in what is opaque and two in what is visible at all; before, up to 240."""
    if kind == "gif" and colours == 1:
        pytest.skip("GIF is decoded to colour")
    planes = cut_out(hidden[:colours], visible[:colours], disc())
    engine = make_engine(load_weights(default_model_path(scale), scale))
    image = decode(encoded(planes, kind), ANY_SIZE)
    result = np.concatenate(list(upscale_image(image, 64, engine)), axis=1)
    level = 257 if result.dtype == np.uint16 else 1
    expected = np.array(visible[:colours])[:, None, None] * level
    error = np.abs(result[:-1].astype(int) - expected).max(axis=0) / level
    alpha = result[-1]
    assert (alpha == 255 * level).any()
    assert (alpha == 0).any()
    assert error[alpha == 255 * level].max() <= 1
    assert error[alpha > 0].max() <= 2


# ---- what the network sees


@STABLE
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    colours=st.sampled_from([1, 3]),
    depth=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 99),
)
def test_visible_pixels_keep_their_samples(height, width, colours, depth, seed):
    planes = noise(seed, colours + 1, height, width, dtype=depth)
    planes[-1] = np.random.default_rng(seed).choice(
        [0, np.iinfo(depth).max // 2 + 1, np.iinfo(depth).max], (height, width)
    )
    before = planes.copy()
    filled = fill_hidden(planes)
    np.testing.assert_array_equal(planes, before)  # it is a copy
    visible = planes[-1] > 0
    np.testing.assert_array_equal(filled[:, visible], planes[:, visible])
    np.testing.assert_array_equal(filled[-1], planes[-1])
    if visible.any():  # means lie between what they are means of
        for after, own in zip(filled[:-1], planes[:-1], strict=True):
            assert own[visible].min() <= after.min() <= after.max() <= own[visible].max()


def test_hidden_colour_has_no_influence():
    planes = noise(0, 4, 300, 70)
    planes[-1] = np.where(noise(1, 300, 70) > 128, 0, planes[-1])
    other = planes.copy()
    other[:-1, planes[-1] == 0] ^= 0xFF
    np.testing.assert_array_equal(fill_hidden(other), fill_hidden(planes))


def test_a_gap_gets_the_colour_nearest_to_it():
    """Left of it is black, right of it white; in between it fades."""
    planes = np.zeros((2, 40, 100), np.uint8)
    planes[0, :, 60:] = 255
    planes[1] = 255
    planes[1, :, 40:60] = 0
    row = fill_hidden(planes)[0, 20].astype(int)
    assert (np.diff(row) >= 0).all()
    assert row[41] < 60
    assert row[58] > 195


def test_a_faint_pixel_beside_an_opaque_one_takes_its_colour():
    planes = np.full((2, 31, 31), 200, np.uint8)
    planes[1] = 255
    planes[:, 15, 15] = 0, 5  # black, and hardly visible
    assert 190 <= fill_hidden(planes)[0, 15, 15] < 200
    planes[1] = 5  # as faint as all others: it is what is to be seen
    assert fill_hidden(planes)[0, 15, 15] == 0


@pytest.mark.parametrize("alpha", [0, 3, 128, 255])
def test_evenly_visible_images_are_returned_as_they_are(alpha):
    planes = noise(0, 4, 20, 30)
    planes[-1] = alpha
    assert fill_hidden(planes) is planes
    assert fill_hidden(planes[:3]).base is planes


def test_bands_of_rows_show_no_seam(monkeypatch):
    planes = noise(0, 4, 530, 9)
    planes[-1, 5:525] = 0
    whole = fill_hidden(planes)
    monkeypatch.setattr("superres.imaging.alpha._BAND", 2)
    np.testing.assert_array_equal(fill_hidden(planes), whole)


def test_tiles_carry_the_filled_colour():
    planes = cut_out((0, 0, 0), (240, 236, 229), disc())
    info = decode(encode_png_bytes(planes), ANY_SIZE).info
    for tile in split("image", info, planes, 32):
        assert (tile.planes[:3] == np.array([240, 236, 229])[:, None, None]).all()


# ---- linear resampling


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(("hidden", "visible"), HIDDEN_AND_VISIBLE)
@pytest.mark.parametrize("soft", [1.0, 20.0])
def test_reduced_and_bicubic_images_keep_the_colour(hidden, visible, soft, scale):
    planes = cut_out(hidden, visible, disc(192, soft))
    low = reduce_planes(planes, scale)
    for result in (low, bicubic_rows(low, scale, 0, low.shape[1] * scale)):
        seen = result[-1] > 0
        assert (result[:3, seen] == np.array(visible)[:, None]).all()
        assert not result[:3, ~seen].any()


@STABLE
@given(scale=st.sampled_from([2, 3, 4]), channels=st.sampled_from([2, 4]), seed=st.integers(0, 99))
def test_reduction_is_premultiplied(scale, channels, seed):
    planes = noise(seed, channels, 12 * scale, 9 * scale)
    reduced = reduce_planes(planes, scale)
    alpha = resize_plane(planes[-1].astype(np.float32), 12, 9)
    for colour, result in zip(planes[:-1], reduced[:-1], strict=True):
        weighted = resize_plane(colour.astype(np.float32) * planes[-1], 12, 9)
        seen = reduced[-1] > 0
        expected = np.clip(weighted[seen] / alpha[seen], 0, 255)
        assert np.abs(result[seen] - expected).max() <= 0.501


def test_an_opaque_image_is_resampled_as_one_without_alpha():
    planes = noise(0, 4, 48, 36)
    planes[-1] = 255
    np.testing.assert_array_equal(reduce_planes(planes, 2)[:3], reduce_planes(planes[:3], 2))
    np.testing.assert_array_equal(
        bicubic_rows(planes, 2, 10, 50)[:3], bicubic_rows(planes[:3], 2, 10, 50)
    )

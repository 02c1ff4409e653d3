"""Figures of the literature are reproduced, and streaming measures what whole images do."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superres.errors import ConfigError, ImageRejectedError
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.imaging.resample import enlarge_plane, reduce_planes
from superres.models import default_model_path
from superres.network.engine import fetch_weights, make_engine
from superres.quality.evaluation import bicubic_rows, measure_result, measure_strips
from superres.quality.folder_evaluation import evaluate_folder
from tests.support.image_files import photo
from tests.support.networks import noise, repeating_engine
from tests.support.paths import ROOT

STABLE = settings(derandomize=True, deadline=None, max_examples=25)
LIMITS = Limits(1 << 28, 100_000_000)
DATASETS = Path(os.environ.get("SUPERRES_DATASETS") or ROOT.parent / "shared" / "datasets")
needs_datasets = pytest.mark.skipif(
    not (DATASETS / "Set5").is_dir(), reason="the image sets are not here (SUPERRES_DATASETS)"
)


def planes_of(height: int, width: int, channels: int = 3, depth: int = 8) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(photo(height, width, channels, depth), -1, 0))


def decoded(planes: np.ndarray, *, grayscale: bool = False):
    return decode(encode_png_bytes(planes), LIMITS, grayscale=grayscale)


def write(planes: np.ndarray, path: Path) -> None:
    path.write_bytes(encode_png_bytes(planes))


# ---- the papers' protocol


@pytest.mark.slow
@needs_datasets
@pytest.mark.parametrize(
    ("name", "scale", "psnr", "ssim"),
    [
        ("Set5", 2, 33.66, 0.9299),
        ("Set5", 3, 30.39, 0.8682),
        ("Set5", 4, 28.42, 0.8104),
        ("Set14", 3, 27.54, 0.7736),  # four of its images are grey
    ],
)
def test_bicubic_figures_are_those_of_the_literature(name, scale, psnr, ssim):
    measured = evaluate_folder(DATASETS / name, repeating_engine(scale), LIMITS)
    assert measured.bicubic is not None
    assert round(measured.bicubic.psnr, 2) == psnr
    assert round(measured.bicubic.ssim, 4) == ssim
    assert len(measured.images) == int(name.removeprefix("Set"))


@needs_datasets
@pytest.mark.parametrize(("scale", "psnr"), [(2, 36.85), (3, 32.90), (4, 30.50)])
def test_the_weights_that_come_with_the_package_reach_their_figure(scale, psnr):
    engine = make_engine(fetch_weights(str(default_model_path(scale)), scale))
    measured = evaluate_folder(DATASETS / "Set5", engine, LIMITS)
    assert measured.ours is not None
    assert measured.ours.psnr >= psnr


def test_images_that_cannot_be_measured_are_skipped_with_a_reason(tmp_path):
    write(planes_of(41, 53), tmp_path / "good.png")
    write(planes_of(1, 40), tmp_path / "flat.png")
    (tmp_path / "notes.png").write_text("no image")
    seen: list[str] = []
    measured = evaluate_folder(
        tmp_path, repeating_engine(2), LIMITS, lambda file: seen.append(file.name)
    )
    assert [(image.name, image.width, image.height) for image in measured.images] == [
        ("good.png", 52, 40)
    ]
    assert [name for name, _ in measured.skipped] == ["flat.png", "notes.png"]
    assert "40 × 1 pixels" in measured.skipped[0][1]
    assert "not an image" in measured.skipped[1][1]
    assert seen == ["flat.png", "good.png", "notes.png"]
    assert measured.ours == measured.images[0].ours


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no images there"):
        evaluate_folder(tmp_path, repeating_engine(2), LIMITS)


def test_json_has_no_number_for_equal_images(tmp_path):
    write(np.full((1, 40, 40), 90, np.uint8), tmp_path / "plain.png")
    measured = evaluate_folder(tmp_path, repeating_engine(2), LIMITS).to_dict()
    assert measured["images"][0]["bicubic"] == {"psnr": None, "ssim": pytest.approx(1)}
    assert measured["bicubic"]["psnr"] is None


# ---- the pipeline's protocol


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_known_difference_gives_its_known_psnr(channels, depth):
    """One level of 255 in every colour is one level of grey, or 219/255 of studio luma."""
    step = 1 if depth == 8 else 257
    truth = planes_of(61, 47, channels, depth) // 2
    if channels in (2, 4):
        truth[-1] = np.iinfo(truth.dtype).max
    result = truth[:, :60, :46].copy()
    result[: 1 if channels <= 2 else 3] += step
    low = reduce_planes(truth, 2)
    ours, _ = measure_result(decoded(truth), decoded(result), low, 2)
    level = 1 if channels <= 2 else 219 / 255
    assert ours is not None
    assert ours.psnr == pytest.approx(20 * math.log10(255 / level), abs=1e-3)


def test_bicubic_is_measured_as_a_stored_bicubic_result_would_be():
    truth = planes_of(60, 44, depth=16)
    low = reduce_planes(truth, 2)
    result = np.stack([enlarge_plane(plane.astype(np.float32), 2) for plane in low])
    stored = np.clip(np.rint(result), 0, 65535).astype(np.uint16)
    ours, bicubic = measure_result(decoded(truth), decoded(stored), low, 2)
    assert ours is not None
    assert ours == bicubic
    assert ours.psnr < 60


def test_equal_images_have_infinite_psnr():
    truth = planes_of(40, 40)
    ours, _ = measure_result(decoded(truth), decoded(truth), reduce_planes(truth, 4), 4)
    assert ours is not None
    assert ours.psnr == math.inf
    assert ours.ssim == pytest.approx(1, abs=1e-6)


def test_only_the_top_left_of_a_larger_original_counts():
    truth = planes_of(62, 45)
    altered = truth.copy()
    altered[:, 60:] = 0
    altered[:, :, 44:] = 0
    result = truth[:, :60, :44]
    low = reduce_planes(truth, 4)
    assert measure_result(decoded(truth), decoded(result), low, 4) == measure_result(
        decoded(altered), decoded(result), low, 4
    )


def test_the_border_does_not_count():
    truth = planes_of(48, 48)
    result = np.zeros_like(truth)
    result[:, 3:-3, 3:-3] = truth[:, 3:-3, 3:-3]
    ours, _ = measure_result(decoded(truth), decoded(result), reduce_planes(truth, 3), 3)
    assert ours is not None
    assert ours.psnr == math.inf


@pytest.mark.parametrize("channels", [2, 4])
def test_hidden_colour_does_not_count(channels):
    truth = planes_of(40, 40, channels)
    truth[-1] = np.where(np.arange(40) < 20, 0, 255)
    result = truth.copy()
    result[:-1, :, :20] ^= 255
    ours, _ = measure_result(decoded(truth), decoded(result), reduce_planes(truth, 2), 2)
    assert ours is not None
    assert ours.psnr == math.inf
    result[-1, 5, 5] = 255
    ours, _ = measure_result(decoded(truth), decoded(result), reduce_planes(truth, 2), 2)
    assert ours is not None
    assert ours.psnr < 60


def test_a_wrong_alpha_counts_as_it_looks_over_mid_grey():
    truth = np.full((2, 40, 40), 255, np.uint8)
    result = truth.copy()
    result[1] = 155
    ours, _ = measure_result(decoded(truth), decoded(result), reduce_planes(truth, 2), 2)
    assert ours is not None
    assert ours.psnr == pytest.approx(20 * math.log10(255 / 50), abs=0.01)


def test_a_grey_result_is_measured_against_the_grey_of_the_original():
    colour = planes_of(40, 40)
    grey = decoded(colour, grayscale=True).planes()
    low = reduce_planes(grey, 2)
    ours, _ = measure_result(decoded(colour, grayscale=True), decoded(grey), low, 2)
    assert ours is not None
    assert ours.psnr == math.inf
    with pytest.raises(ValueError, match="both be grey"):
        measure_result(decoded(colour), decoded(grey), low, 2)


def test_an_original_smaller_than_the_result_is_rejected():
    result = planes_of(40, 40)
    with pytest.raises(ImageRejectedError, match="39 × 40 pixels, fewer than"):
        measure_result(decoded(result[:, :, :39]), decoded(result), reduce_planes(result, 2), 2)


def test_an_image_too_small_for_a_window_has_no_figures():
    truth = planes_of(14, 40)
    assert measure_result(decoded(truth), decoded(truth), reduce_planes(truth, 2), 2) == (
        None,
        None,
    )


@pytest.mark.slow
def test_a_wide_file_is_measured_in_strips_as_if_whole():
    truth = planes_of(130, 9000)
    result = truth ^ (noise(1, *truth.shape) & 7)
    low = reduce_planes(truth, 2)
    streamed = measure_result(decoded(truth), decoded(result), low, 2)
    for one, other in zip(streamed, measure_strips([truth], [result], low, 2), strict=True):
        assert one is not None
        assert other is not None
        assert (one.psnr, one.ssim) == pytest.approx((other.psnr, other.ssim), abs=1e-5)


@STABLE
@given(
    height=st.integers(12, 40),
    rows=st.integers(1, 45),
    scale=st.sampled_from([2, 3, 4]),
    channels=st.integers(1, 4),
    depth=st.sampled_from([8, 16]),
)
def test_any_height_of_strips_measures_the_same(height, rows, scale, channels, depth):
    low = planes_of(height // scale + 3, 9, channels, depth)
    shape = (channels, low.shape[1] * scale, low.shape[2] * scale)
    truth, result = (noise(seed, *shape, dtype=low.dtype.type) for seed in (1, 2))

    def cut(planes):
        return [planes[:, top : top + rows] for top in range(0, shape[1], rows)]

    streamed = measure_strips(cut(truth), cut(result), low, scale)
    whole = measure_strips([truth], [result], low, scale)
    for one, other in zip(streamed, whole, strict=True):
        assert one is not None
        assert other is not None
        assert (one.psnr, one.ssim) == pytest.approx((other.psnr, other.ssim), abs=1e-5)


@STABLE
@given(
    height=st.integers(1, 30),
    scale=st.sampled_from([2, 3, 4]),
    depth=st.sampled_from([8, 16]),
    data=st.data(),
)
def test_rows_of_the_bicubic_enlargement_are_those_of_the_whole(height, scale, depth, data):
    dtype = np.uint8 if depth == 8 else np.uint16
    low = noise(height, 3, height, 5, dtype=dtype)
    top = data.draw(st.integers(0, height * scale - 1))
    bottom = data.draw(st.integers(top + 1, height * scale))
    peak = np.iinfo(dtype).max
    whole = np.stack([enlarge_plane(plane.astype(np.float32), scale) for plane in low])
    expected = np.clip(np.rint(whole), 0, peak)[:, top:bottom]
    rows = bicubic_rows(low, scale, top, bottom)
    assert rows.dtype == dtype
    # float32 has 8 bits to spare beyond 16: a tie may round either way
    assert np.abs(rows - expected).max() <= (0 if depth == 8 else 1)

"""The comparison page is one file with exact images; the picture shows where ours gains."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from superres.errors import ImageRejectedError
from superres.imaging.resample import reduce_planes
from superres.quality import comparison
from superres.quality.comparison import (
    Comparison,
    compare_image,
    compare_planes,
    crop_of_interest,
    render_page,
    side_by_side,
    write_page,
)
from superres.quality.evaluation import bicubic_rows
from tests.support.image_files import photo
from tests.support.networks import repeating_engine


def planes_of(height: int, width: int, channels: int = 3, depth: int = 8) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(photo(height, width, channels, depth), -1, 0))


def compared(original: np.ndarray, scale: int = 2, *, keep: bool = True, name: str = "photo.png"):
    """An original reduced and enlarged again, with or without it beside."""
    low = reduce_planes(original, scale)
    return compare_image(name, low, 32, repeating_engine(scale), original if keep else None)


def embedded(page: str) -> dict[str, Image.Image]:
    sources = json.loads(re.search(r"const sources = (.*);", page)[1])
    return {
        name: Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        for name, uri in sources.items()
    }


def samples(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


# ---- what is compared


def test_bicubic_and_ours_are_measured_against_the_original():
    original = planes_of(61, 45)
    pair = compared(original)
    assert pair.ours.shape == pair.bicubic.shape == (3, 60, 44)
    np.testing.assert_array_equal(pair.original, original[:, :60, :44])
    assert pair.bicubic_quality is not None
    assert pair.ours_quality is not None
    assert pair.bicubic_quality.psnr > pair.ours_quality.psnr  # this network only repeats pixels


def test_without_an_original_nothing_is_measured():
    pair = compared(planes_of(40, 40), keep=False)
    assert pair.original is None
    assert pair.ours_quality is None
    assert pair.bicubic_quality is None


@pytest.mark.parametrize("size", [(39, 40), (42, 40), (40, 38), (40, 80)])
def test_an_original_of_another_size_is_rejected(size):
    low = planes_of(20, 20)
    ours = bicubic_rows(low, 2, 0, 40)
    with pytest.raises(ImageRejectedError, match=r"photo.png upscaled ×2 has 40 × 40"):
        compare_planes("photo.png", low, ours, 2, planes_of(*size))


def test_a_grey_result_is_compared_with_the_grey_of_a_colour_original():
    grey = planes_of(40, 40, 1)
    low = reduce_planes(grey, 2)
    pair = compare_planes("photo.png", low, grey, 2, np.repeat(grey, 3, axis=0))
    np.testing.assert_array_equal(pair.original, grey)
    with pytest.raises(ImageRejectedError, match="original is grey"):
        compare_planes("photo.png", planes_of(20, 20), planes_of(40, 40), 2, grey)


# ---- the page


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_page_holds_the_images_pixel_for_pixel(channels):
    pair = compared(planes_of(40, 52, channels))
    images = embedded(render_page(pair, "a model"))
    assert list(images) == ["bicubic", "ours", "original"]
    for name, image in images.items():
        assert image.format == "PNG"
        np.testing.assert_array_equal(samples(image), getattr(pair, name))


def test_sixteen_bits_are_shown_with_eight():
    pair = compared(planes_of(40, 40, depth=16), keep=False)
    images = embedded(render_page(pair, "a model"))
    assert list(images) == ["bicubic", "ours"]
    np.testing.assert_array_equal(samples(images["ours"]), np.rint(pair.ours / 257))


def test_the_page_needs_nothing_but_itself(tmp_path):
    path = tmp_path / "page.html"
    size = write_page(compared(planes_of(40, 40)), path, "a model")
    page = path.read_text("utf-8")
    assert size == path.stat().st_size
    assert "//" not in re.sub(r"^\s*//.*$|data:[^\"]*", "", page, flags=re.MULTILINE)
    assert not re.search(r"<(link|iframe|script)\s[^>]*(src|href)|@import|url\(", page)
    assert "default-src 'none'" in page  # and the browser sees to it


def test_the_page_shows_sizes_model_and_figures():
    pair = compared(planes_of(61, 45))
    page = render_page(pair, "fsrcnn_x2.safetensors 0123456789ab")
    assert pair.ours_quality is not None
    for text in (
        "22 × 30",
        "44 × 60 (×2)",
        "fsrcnn_x2.safetensors 0123456789ab",
        f"{pair.ours_quality.psnr:.2f} dB",
        f"{pair.ours_quality.ssim:.4f}",
        'type="range"',
        'width="44" height="60"',
    ):
        assert text in page
    assert "PSNR" not in render_page(compared(planes_of(61, 45), keep=False), "a model")


def test_equal_images_are_reported_as_equal():
    pair = compared(np.full((1, 40, 40), 90, np.uint8))
    assert "<td>equal</td>" in render_page(pair, "a model")


def test_a_file_name_cannot_break_the_page():
    page = render_page(compared(planes_of(40, 40), name='<b onload="x">&</script>.png'), "{{name}}")
    assert "<b onload" not in page
    assert page.count("</script>") == 1
    assert "&lt;b onload=&quot;x&quot;&gt;&amp;" in page
    assert "<dd>{{name}}</dd>" in page


def test_large_images_are_compressed_with_a_note_on_the_page(monkeypatch):
    monkeypatch.setattr(comparison, "LOSSLESS_PIXELS", 1000)
    pair = compared(planes_of(40, 40, 4))
    page = render_page(pair, "a model")
    assert "compressed" in page
    for name, image in embedded(page).items():
        assert image.format == "WEBP"
        assert image.mode == "RGBA"
        difference = samples(image).astype(int) - getattr(pair, name)
        assert np.abs(difference[3]).max() == 0
        assert np.sqrt(np.mean(difference[:3] ** 2)) < 20


def test_an_image_too_large_for_webp_becomes_jpeg(monkeypatch):
    monkeypatch.setattr(comparison, "LOSSLESS_PIXELS", 1000)
    images = embedded(render_page(compared(planes_of(2, 16_400, 2), keep=False), "a model"))
    assert {image.format for image in images.values()} == {"JPEG"}
    assert {image.size for image in images.values()} == {(16_400, 2)}


def test_of_a_huge_image_the_middle_is_shown(monkeypatch):
    monkeypatch.setattr(comparison, "MAX_PIXELS", 25 * 20)
    pair = compared(planes_of(40, 50))
    page = render_page(pair, "a model")
    assert "middle 25 × 20 pixels of the image" in page
    assert "50 × 40 (×2)" in page
    ours = samples(embedded(page)["ours"])
    np.testing.assert_array_equal(ours, pair.ours[:, 10:30, 12:37])


# ---- the picture


def with_a_gain_at(top: int, left: int, *, original: bool = True, channels: int = 3) -> Comparison:
    """Ours right everywhere; bicubic wrong in a spot of 8 x 8 pixels."""
    truth = planes_of(120, 160, channels)
    bicubic = truth.copy()
    bicubic[:3, top : top + 8, left : left + 8] ^= 64
    low = reduce_planes(truth, 2)
    return Comparison("x.png", 2, low, bicubic, truth, truth if original else None, None, None)


@pytest.mark.parametrize("original", [True, False])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (40, 80), (112, 152), (112, 0)])
def test_the_crop_is_where_ours_gains_most(top, left, original):
    box = crop_of_interest(with_a_gain_at(top, left, original=original), 40)
    assert (box.height, box.width) == (40, 40)
    assert box.top <= top
    assert box.bottom >= top + 8
    assert box.left <= left
    assert box.right >= left + 8


def test_a_loss_is_no_gain():
    pair = with_a_gain_at(80, 120)
    worse = pair.ours.copy()
    worse[:, 0:8, 0:8] ^= 64  # more than bicubic is wrong at the other place
    worse[:, 0:8, 8:16] ^= 64
    box = crop_of_interest(
        Comparison("x.png", 2, pair.low, pair.bicubic, worse, pair.original, None, None), 40
    )
    assert box.top > 8


def test_the_crop_avoids_transparent_pixels():
    pair = with_a_gain_at(80, 120, channels=4)
    pair.ours[3] = 255
    pair.ours[3, 60:] = 0
    pair.bicubic[:3, 10:12, 10:12] ^= 8
    assert crop_of_interest(pair, 40).top <= 10


def test_the_crop_of_a_small_image_is_the_image():
    box = crop_of_interest(compared(planes_of(20, 31)), 40)
    assert (box.top, box.left, box.bottom, box.right) == (0, 0, 20, 30)


def test_the_picture_shows_pixels_of_all_three(tmp_path):
    pair = with_a_gain_at(40, 80)
    box = crop_of_interest(pair, 132)
    side_by_side([pair], tmp_path / "picture.png")
    picture = opened(tmp_path / "picture.png")
    seen = np.asarray(picture).reshape(-1, 3)
    assert picture.width == pytest.approx(4 * 400, rel=0.1)
    for planes in (pair.bicubic, pair.ours, pair.original):
        colour = planes[:, (box.top + box.bottom) // 2, (box.left + box.right) // 2]
        assert (seen == colour).all(axis=1).sum() >= 9  # three times as large each way


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [8, 16])
def test_every_kind_of_image_can_be_drawn(tmp_path, channels, depth):
    path = tmp_path / "picture.png"
    side_by_side([compared(planes_of(50, 70, channels, depth))], path)
    one = opened(path).height
    pairs = [
        compared(planes_of(50, 70, channels, depth), keep=False, name="long name " * 30),
        compared(planes_of(2, 900, channels, depth), 2),
        compared(planes_of(9, 3, channels, depth), 3),
    ]
    side_by_side(pairs, path)
    assert opened(path).height > 2 * one


def test_drawing_no_comparisons_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        side_by_side([], tmp_path / "picture.png")

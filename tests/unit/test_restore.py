"""Which network an image gets, and that it travels from the image to its record."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.selection import SourceImage, stored_images
from jobs.stages import infer_tiles, reconstruct_images, split_images
from jobs.tables import batches_to_tiles, tiles_to_batches
from notifier.drawing import draw_bicubic
from superres.imaging.decoding import decode, decode_file
from superres.imaging.jpeg import planes_through_jpeg
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.imaging.samples import sample_images
from superres.models import CLEAN, NETWORKS, SCALES, default_model_path, network_for
from superres.network.engine import Engine, make_engine
from superres.network.restore import fetch_networks, network_of
from superres.network.weights import load_weights
from superres.pipeline import storage
from superres.pipeline.config import Processing, Restore
from superres.pipeline.layout import Layout
from superres.pipeline.recipe import Recipe
from superres.quality.evaluation import bicubic_rows
from tests.conftest import RunSetup
from tests.support.evaluation_records import evaluation
from tests.support.networks import noise

LIMITS = Limits(1 << 20, 1 << 20)
IDS = ["a" * 32, "b" * 32, "c" * 32]


def test_each_quality_has_its_network() -> None:
    names = [network_for(quality) for quality in range(1, 101)]
    assert sorted(set(names), key=names.index) == [*NETWORKS[1:], CLEAN]
    # Beside the middle of each band's training.
    for quality, name in [(30, "jpeg-10-45"), (75, "jpeg-66-83"), (87, "jpeg-83-91")]:
        assert network_for(quality) == name
    assert network_for(None) == CLEAN


@pytest.mark.parametrize(
    ("restore", "quality", "name"),
    [
        ("auto", 75, "jpeg-66-83"),
        ("auto", 100, CLEAN),
        ("auto", None, CLEAN),
        ("off", 75, CLEAN),
        (50, 75, "jpeg-45-66"),
        (50, None, "jpeg-45-66"),
    ],
)
def test_the_configuration_chooses(restore: Restore, quality: int | None, name: str) -> None:
    assert network_of(Recipe(restore=restore), quality) == name


def test_a_model_of_ones_own_is_for_every_image(tmp_path: Path) -> None:
    path = str(default_model_path(2))
    assert network_of(Recipe(model_path=path), 75) == CLEAN
    assert list(fetch_networks(Processing(model_path=path), 2, Recipe(model_path=path))) == [CLEAN]


@pytest.mark.parametrize("scale", SCALES)
def test_every_network_is_included_and_another(scale: int) -> None:
    networks = fetch_networks(Processing(), scale, Recipe())
    assert tuple(networks) == NETWORKS
    assert len({weights.digest for weights in networks.values()}) == len(NETWORKS)
    assert list(fetch_networks(Processing(), scale, Recipe(restore=75))) == ["jpeg-66-83"]


# ---- through the stages


def photograph(quality: int | None) -> bytes:
    picture = Image.open(sample_images()[0]).convert("RGB").resize((64, 48))
    file = io.BytesIO()
    if quality is None:
        picture.save(file, "PNG")
    else:
        picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def stored(layout: Layout) -> list[SourceImage]:
    contents = zip(IDS, ["jpg", "png", "jpg"], [75, None, 40], strict=True)
    for image_id, suffix, quality in contents:
        uri = storage.join(layout.low_resolution, f"{image_id}.{suffix}")
        storage.write_bytes(uri, photograph(quality))
    return sorted(stored_images(layout).images, key=lambda image: image.image_id)


def engine_for(network: str) -> Engine:
    return make_engine(load_weights(default_model_path(2, network), 2))


def test_each_image_is_upscaled_by_its_network(run_setup: RunSetup) -> None:
    layout, processing = run_setup.layout, run_setup.settings.processing
    tiles = split_images(stored(layout), processing, layout)
    upscaled = infer_tiles(batches_to_tiles(tiles_to_batches(tiles)), engine_for)
    images = list(reconstruct_images(batches_to_tiles(tiles_to_batches(upscaled, 2)), layout))
    assert [image.network for image in images] == ["jpeg-66-83", CLEAN, "jpeg-10-45"]
    assert [image.model_digest for image in images] == [
        engine_for(image.network).digest for image in images
    ]


def test_off_means_the_network_for_clean_input(run_setup: RunSetup) -> None:
    layout = run_setup.layout.with_recipe(Recipe(restore="off"))
    tiles = split_images(stored(layout), run_setup.settings.processing, layout)
    assert {timed.network for timed in tiles} == {CLEAN}


def test_what_is_measured_goes_through_jpeg_first(run_setup: RunSetup) -> None:
    layout = run_setup.layout.with_recipe(Recipe(evaluate_jpeg_quality=60))
    clean = encode_png_bytes(noise(0, 3, 24, 24))
    for image_id in IDS[:2]:
        storage.write_bytes(storage.join(layout.low_resolution, f"{image_id}.png"), clean)
    original = encode_png_bytes(noise(1, 3, 48, 48))
    storage.write_bytes(storage.join(layout.high_resolution, f"{IDS[0]}.png"), original)
    images = sorted(stored_images(layout).images, key=lambda image: image.image_id)
    assert [image.jpeg_quality for image in images] == [60, None]  # the second has no original
    measured, other = split_images(images, run_setup.settings.processing, layout)
    assert (measured.network, other.network) == ("jpeg-45-66", CLEAN)
    assert not np.array_equal(measured.tile.planes, other.tile.planes)


@pytest.mark.parametrize(
    ("recipe", "gain", "quality"),
    [
        (Recipe(evaluate_jpeg_quality=60), 1.0, 60),
        (Recipe(evaluate_jpeg_quality=60), None, None),
        (Recipe(grayscale=True), 1.0, None),
        (Recipe(), 1.0, None),
    ],
)
def test_a_record_says_what_its_low_resolution_went_through(
    recipe: Recipe, gain: float | None, quality: int | None
) -> None:
    assert evaluation(1, gain=gain, recipe=recipe).jpeg_quality == quality


def test_the_bicubic_picture_is_of_the_jpeg(tmp_path: Path) -> None:
    low = noise(0, 3, 24, 20)
    decoded = decode(encode_png_bytes(low), LIMITS)
    draw_bicubic(decoded, 2, tmp_path / "bicubic.png", 60)
    drawn = decode_file(tmp_path / "bicubic.png", LIMITS).planes()
    assert np.array_equal(drawn, bicubic_rows(planes_through_jpeg(low, 60), 2, 0, 48))
    assert not np.array_equal(drawn, bicubic_rows(low, 2, 0, 48))

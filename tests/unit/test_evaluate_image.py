"""The evaluation of one image: its record, and the rejection of an image that lacks a part."""

from pathlib import Path

from jobs.evaluate_image import ImageLocations, evaluate_image, image_locations
from jobs.selection import stored_images
from jobs.tables import ReconstructedImage
from superres.imaging.png import encode_png_bytes
from superres.models import CLEAN
from superres.pipeline import storage
from superres.pipeline.records import Evaluation, Mode, RejectedImage
from tests.conftest import RunSetup
from tests.support.networks import noise
from tests.support.references import image_reference

IMAGE_ID = "a" * 32


def stored(run_setup: RunSetup, mode: Mode | None) -> ReconstructedImage:
    """A low-resolution image with its result and, if there is a mode, its reference."""
    low = storage.join(run_setup.layout.low_resolution, IMAGE_ID)
    storage.write_bytes(f"{low}.png", encode_png_bytes(noise(1, 3, 20, 20)))
    if mode is not None:
        reference = image_reference(mode, image_id=IMAGE_ID)
        storage.write_bytes(f"{low}.json", reference.to_json().encode())
    result = run_setup.layout.result(IMAGE_ID)
    storage.write_bytes(result, encode_png_bytes(noise(2, 3, 40, 40)))
    return ReconstructedImage(IMAGE_ID, result, 40, 40, 1, 0.5, CLEAN, "digest")


def store_original(run_setup: RunSetup) -> None:
    uri = storage.join(run_setup.layout.high_resolution, f"{IMAGE_ID}.png")
    storage.write_bytes(uri, encode_png_bytes(noise(3, 3, 40, 40)))


def locations_in(run_setup: RunSetup) -> ImageLocations:
    return image_locations(stored_images(run_setup.layout).images, run_setup.layout)


def evaluated(image: ReconstructedImage, run_setup: RunSetup) -> Evaluation:
    layout = run_setup.layout
    assert evaluate_image(image, locations_in(run_setup), run_setup.settings.processing, layout)
    return Evaluation.from_json(storage.read_bytes(layout.evaluation(IMAGE_ID)))


def test_a_missing_original_does_not_change_the_mode(run_setup: RunSetup) -> None:
    record = evaluated(stored(run_setup, "evaluate"), run_setup)
    assert record.mode == "evaluate"
    assert (record.original, record.ours, record.bicubic) == (None, None, None)


def test_the_mode_decides_whether_an_original_counts(run_setup: RunSetup) -> None:
    image = stored(run_setup, "upscale")
    store_original(run_setup)
    record = evaluated(image, run_setup)
    assert (record.mode, record.ours) == ("upscale", None)


def test_without_a_reference_an_original_means_mode_evaluate(run_setup: RunSetup) -> None:
    image = stored(run_setup, None)
    assert evaluated(image, run_setup).mode == "upscale"
    store_original(run_setup)
    record = evaluated(image, run_setup)
    assert record.mode == "evaluate"
    assert record.ours is not None


def test_a_missing_low_resolution_image_is_rejected(run_setup: RunSetup) -> None:
    image = stored(run_setup, "evaluate")
    (Path(run_setup.layout.low_resolution) / f"{IMAGE_ID}.png").unlink()
    locations = locations_in(run_setup)
    assert not evaluate_image(image, locations, run_setup.settings.processing, run_setup.layout)
    record = RejectedImage.from_json(storage.read_bytes(run_setup.layout.rejection(IMAGE_ID)))
    assert (record.stage, record.source) == ("evaluate", "täst")
    assert "low-resolution image is gone" in record.reason


def test_an_evaluation_deletes_an_earlier_rejection(run_setup: RunSetup) -> None:
    image = stored(run_setup, "upscale")
    storage.write_bytes(run_setup.layout.rejection(IMAGE_ID), b"of another message")
    evaluated(image, run_setup)
    assert not storage.exists(run_setup.layout.rejection(IMAGE_ID))

"""The evaluation of one image: its record, and the rejection of an image that lacks a part."""

from pathlib import Path

from jobs.evaluate import ImageLocations, evaluate_image, image_locations
from jobs.selection import stored_images
from jobs.tables import ReconstructedImage
from superres.imaging.png import encode_png_bytes
from superres.pipeline import storage
from superres.pipeline.records import Evaluation, Mode, RejectedImage
from tests.conftest import Place
from tests.support.networks import noise
from tests.support.references import image_reference

IMAGE_ID = "a" * 32


def stored(place: Place, mode: Mode | None) -> ReconstructedImage:
    """A low-resolution image with its result and, if there is a mode, its reference."""
    low = storage.join(place.layout.low_resolution, IMAGE_ID)
    storage.write_bytes(f"{low}.png", encode_png_bytes(noise(1, 3, 20, 20)))
    if mode is not None:
        reference = image_reference(mode, image_id=IMAGE_ID)
        storage.write_bytes(f"{low}.json", reference.to_json().encode())
    result = place.layout.result(IMAGE_ID)
    storage.write_bytes(result, encode_png_bytes(noise(2, 3, 40, 40)))
    return ReconstructedImage(IMAGE_ID, result, 40, 40, 1, 0.5, "digest")


def store_original(place: Place) -> None:
    uri = storage.join(place.layout.high_resolution, f"{IMAGE_ID}.png")
    storage.write_bytes(uri, encode_png_bytes(noise(3, 3, 40, 40)))


def locations_in(place: Place) -> ImageLocations:
    return image_locations(stored_images(place.layout).images, place.layout)


def evaluated(image: ReconstructedImage, place: Place) -> Evaluation:
    layout = place.layout
    assert evaluate_image(image, locations_in(place), place.settings.processing, layout)
    return Evaluation.from_json(storage.read_bytes(layout.evaluation(IMAGE_ID)))


def test_a_missing_original_does_not_change_the_mode(place: Place) -> None:
    record = evaluated(stored(place, "evaluate"), place)
    assert record.mode == "evaluate"
    assert (record.original, record.ours, record.bicubic) == (None, None, None)


def test_the_mode_decides_whether_an_original_counts(place: Place) -> None:
    image = stored(place, "upscale")
    store_original(place)
    record = evaluated(image, place)
    assert (record.mode, record.ours) == ("upscale", None)


def test_without_a_reference_an_original_means_mode_evaluate(place: Place) -> None:
    image = stored(place, None)
    assert evaluated(image, place).mode == "upscale"
    store_original(place)
    record = evaluated(image, place)
    assert record.mode == "evaluate"
    assert record.ours is not None


def test_a_missing_low_resolution_image_is_rejected(place: Place) -> None:
    image = stored(place, "evaluate")
    (Path(place.layout.low_resolution) / f"{IMAGE_ID}.png").unlink()
    locations = locations_in(place)
    assert not evaluate_image(image, locations, place.settings.processing, place.layout)
    record = RejectedImage.from_json(storage.read_bytes(place.layout.rejection(IMAGE_ID)))
    assert (record.stage, record.source) == ("evaluate", "täst")
    assert "low-resolution image is gone" in record.reason


def test_an_evaluation_deletes_an_earlier_rejection(place: Place) -> None:
    image = stored(place, "upscale")
    storage.write_bytes(place.layout.rejection(IMAGE_ID), b"of another message")
    evaluated(image, place)
    assert not storage.exists(place.layout.rejection(IMAGE_ID))

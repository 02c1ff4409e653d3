"""The evaluation of one image: what its record says, and what becomes of one that lacks a part."""

from datetime import UTC, datetime
from pathlib import Path

from jobs.evaluate import evaluate_image, places_in
from jobs.tables import FinishedImage
from superres.imaging.png import encode_png_bytes
from superres.pipeline import storage
from superres.pipeline.records import Evaluation, ImageReference, Mode, RejectedImage
from tests.conftest import Place
from tests.support.networks import noise

IMAGE_ID = "a" * 32


def stored(place: Place, mode: Mode | None) -> FinishedImage:
    """A low-resolution image with its result and, if there is a mode, its reference."""
    low = storage.join(place.layout.low_resolution, IMAGE_ID)
    storage.write_bytes(f"{low}.png", encode_png_bytes(noise(1, 3, 20, 20)))
    if mode is not None:
        reference = ImageReference(
            image_id=IMAGE_ID,
            url="https://example.org/a.png",
            source="test",
            mode=mode,
            scale=2,
            requested_at=datetime(2026, 1, 31, tzinfo=UTC),
        )
        storage.write_bytes(f"{low}.json", reference.to_json().encode())
    result = place.layout.result(IMAGE_ID)
    storage.write_bytes(result, encode_png_bytes(noise(2, 3, 40, 40)))
    return FinishedImage(IMAGE_ID, result, 40, 40, 1, 0.5, "digest")


def store_original(place: Place) -> None:
    uri = storage.join(place.layout.high_resolution, f"{IMAGE_ID}.png")
    storage.write_bytes(uri, encode_png_bytes(noise(3, 3, 40, 40)))


def evaluated(image: FinishedImage, place: Place) -> Evaluation:
    layout = place.layout
    assert evaluate_image(image, places_in(layout), place.settings.processing, layout)
    return Evaluation.from_json(storage.read_bytes(layout.evaluation(IMAGE_ID)))


def test_an_original_that_is_gone_does_not_change_the_mode(place: Place) -> None:
    record = evaluated(stored(place, "evaluate"), place)
    assert record.mode == "evaluate"
    assert (record.original, record.ours, record.bicubic) == (None, None, None)


def test_the_mode_decides_whether_an_original_counts(place: Place) -> None:
    image = stored(place, "upscale")
    store_original(place)
    record = evaluated(image, place)
    assert (record.mode, record.ours) == ("upscale", None)


def test_without_a_reference_the_original_tells_the_mode(place: Place) -> None:
    image = stored(place, None)
    assert evaluated(image, place).mode == "upscale"
    store_original(place)
    record = evaluated(image, place)
    assert record.mode == "evaluate"
    assert record.ours is not None


def test_a_low_resolution_image_that_is_gone_is_a_rejection(place: Place) -> None:
    image = stored(place, "evaluate")
    (Path(place.layout.low_resolution) / f"{IMAGE_ID}.png").unlink()
    places = places_in(place.layout)
    assert not evaluate_image(image, places, place.settings.processing, place.layout)
    record = RejectedImage.from_json(storage.read_bytes(place.layout.rejection(IMAGE_ID)))
    assert (record.stage, record.source) == ("evaluate", "test")
    assert "low-resolution image is gone" in record.reason


def test_a_finished_image_is_no_more_rejected(place: Place) -> None:
    image = stored(place, "upscale")
    storage.write_bytes(place.layout.rejection(IMAGE_ID), b"of a delivery that failed")
    evaluated(image, place)
    assert not storage.exists(place.layout.rejection(IMAGE_ID))

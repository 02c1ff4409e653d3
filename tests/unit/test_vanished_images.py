"""An image that was deleted after the run listed it is rejected; storage that fails is not it."""

from pathlib import Path

import pytest

from jobs.evaluate_image import ImageLocations, evaluate_image
from jobs.selection import SourceImage
from jobs.stages import split_images
from jobs.tables import ReconstructedImage
from superres.errors import StorageError
from superres.imaging.png import encode_png_bytes
from superres.models import CLEAN
from superres.pipeline import storage
from superres.pipeline.records import RejectedImage
from tests.conftest import RunSetup
from tests.support.networks import noise

GONE, HERE = "a" * 32, "b" * 32


def listed(run_setup: RunSetup, image_id: str) -> SourceImage:
    return SourceImage(
        image_id, storage.join(run_setup.layout.low_resolution, f"{image_id}.png"), 9
    )


def stored(run_setup: RunSetup, image_id: str) -> SourceImage:
    image = listed(run_setup, image_id)
    storage.write_bytes(image.uri, encode_png_bytes(noise(1, 3, 20, 20)))
    return image


def split_ids(run_setup: RunSetup, *images: SourceImage) -> set[str]:
    tiles = split_images(images, run_setup.settings.processing, run_setup.layout)
    return {timed.tile.image_id for timed in tiles}


def rejection_of(run_setup: RunSetup, image_id: str) -> RejectedImage:
    return RejectedImage.from_json(storage.read_bytes(run_setup.layout.rejection(image_id)))


def test_the_split_rejects_an_image_that_is_gone(run_setup: RunSetup) -> None:
    here, gone = stored(run_setup, HERE), listed(run_setup, GONE)
    assert split_ids(run_setup, gone, here) == {HERE}
    record = rejection_of(run_setup, GONE)
    assert record.stage == "split"
    assert record.reason == "deleted since the run listed it; import it again"


def test_a_folder_that_is_gone_is_storage_that_fails(run_setup: RunSetup) -> None:
    with pytest.raises(StorageError, match="cannot read"):
        split_ids(run_setup, listed(run_setup, GONE))
    assert not storage.exists(run_setup.layout.rejection(GONE))


def test_an_image_that_cannot_be_read_for_now_is_not_rejected(
    run_setup: RunSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(uri: str) -> bytes:
        raise StorageError(f"{uri}: cannot read: Input/output error")

    image = stored(run_setup, HERE)
    monkeypatch.setattr(storage, "read_bytes", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        split_ids(run_setup, image)
    assert not Path(run_setup.layout.rejection(HERE)).exists()


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("low", "deleted since the run listed it; import it again"),
        ("original", "its original was deleted since the run listed it; import it again"),
        ("result", "its result was deleted before it was measured; run again with --redo"),
    ],
)
def test_evaluation_rejects_an_image_that_lacks_a_part(
    run_setup: RunSetup, missing: str, reason: str
) -> None:
    layout = run_setup.layout
    low = stored(run_setup, HERE).uri
    original = storage.join(layout.high_resolution, f"{HERE}.png")
    result = layout.result(HERE)
    for uri in (original, result):
        storage.write_bytes(uri, encode_png_bytes(noise(2, 3, 40, 40)))
    Path({"low": low, "original": original, "result": result}[missing]).unlink()
    image = ReconstructedImage(HERE, result, 40, 40, 1, 0.5, CLEAN, "digest")
    locations = ImageLocations({HERE: low}, {HERE: original})
    assert not evaluate_image(image, locations, run_setup.settings.processing, layout)
    record = rejection_of(run_setup, HERE)
    assert (record.stage, record.reason) == ("evaluate", reason)
    assert not storage.exists(layout.evaluation(HERE))

"""Storing images that ingestion or a local run brings, with their references."""

from pathlib import Path

import pytest

from superres.errors import ImageRejectedError
from superres.imaging.decoding import decode_file
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.imaging.resample import reduce_planes
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of, store_image
from superres.pipeline.records import Mode
from tests.conftest import RunSetup
from tests.support.networks import noise
from tests.support.references import image_reference

ANY_SIZE = Limits(1 << 30, 1 << 30)


def test_an_image_to_upscale_is_kept_byte_for_byte(run_setup: RunSetup) -> None:
    content, reference = encode_png_bytes(noise(1, 3, 20, 30)), image_reference()
    store_image(content, reference, run_setup.layout, run_setup.settings.processing)
    low = storage.join(run_setup.layout.low_resolution, f"{reference.image_id}.png")
    assert storage.read_bytes(low) == content
    assert reference_of(low) == reference


@pytest.mark.parametrize("as_file", [False, True])
def test_an_original_is_kept_beside_its_reduction(
    run_setup: RunSetup, tmp_path: Path, as_file: bool
) -> None:
    planes = noise(1, 3, 20, 31)
    content, reference = encode_png_bytes(planes), image_reference("evaluate")
    file = tmp_path / "any-name"
    file.write_bytes(content)
    store_image(
        file if as_file else content, reference, run_setup.layout, run_setup.settings.processing
    )
    high = storage.join(run_setup.layout.high_resolution, f"{reference.image_id}.png")
    low = Path(storage.join(run_setup.layout.low_resolution, f"{reference.image_id}.png"))
    assert storage.read_bytes(high) == content
    assert (decode_file(low, ANY_SIZE).planes() == reduce_planes(planes, 2)).all()
    assert reference_of(str(low)) == reference


@pytest.mark.parametrize("mode", ["upscale", "evaluate"])
def test_a_file_that_is_no_image_leaves_nothing_behind(run_setup: RunSetup, mode: Mode) -> None:
    with pytest.raises(ImageRejectedError):
        store_image(
            b"<html>", image_reference(mode), run_setup.layout, run_setup.settings.processing
        )
    assert not storage.list_files(run_setup.layout.low_resolution, hidden=True)
    assert not storage.list_files(run_setup.layout.high_resolution, hidden=True)

"""Storing what has arrived, with its reference."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from superres.errors import ImageRejectedError
from superres.imaging.decoding import decode, decode_file
from superres.imaging.limits import Limits
from superres.imaging.png import encode_png_bytes
from superres.imaging.resample import reduce_planes
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of, store_image
from superres.pipeline.records import ImageReference, Mode
from tests.conftest import Place, make_place
from tests.support.networks import noise

ANY_SIZE = Limits(1 << 30, 1 << 30)


def referring(mode: Mode = "upscale", url: str = "https://example.org/a.png") -> ImageReference:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    return ImageReference(
        image_id="a" * 32, url=url, source="täst", mode=mode, scale=2, requested_at=moment
    )


def test_an_image_to_enlarge_is_kept_byte_for_byte(place: Place) -> None:
    content, reference = encode_png_bytes(noise(1, 3, 20, 30)), referring()
    store_image(content, reference, place.layout, place.settings.processing)
    low = storage.join(place.layout.low_resolution, f"{reference.image_id}.png")
    assert storage.read_bytes(low) == content
    assert reference_of(low) == reference


@pytest.mark.parametrize("as_file", [False, True])
def test_an_original_is_kept_beside_its_reduction(
    place: Place, tmp_path: Path, as_file: bool
) -> None:
    planes = noise(1, 3, 20, 31)
    content, reference = encode_png_bytes(planes), referring("evaluate")
    file = tmp_path / "any-name"
    file.write_bytes(content)
    given = file if as_file else content
    store_image(given, reference, place.layout, place.settings.processing)
    high = storage.join(place.layout.high_resolution, f"{reference.image_id}.png")
    low = Path(storage.join(place.layout.low_resolution, f"{reference.image_id}.png"))
    assert storage.read_bytes(high) == content
    assert (decode_file(low, ANY_SIZE).planes() == reduce_planes(planes, 2)).all()
    assert reference_of(str(low)) == reference


@pytest.mark.parametrize("mode", ["upscale", "evaluate"])
def test_what_is_no_image_leaves_nothing_behind(place: Place, mode: Mode) -> None:
    with pytest.raises(ImageRejectedError):
        store_image(b"<html>", referring(mode), place.layout, place.settings.processing)
    assert not storage.list_files(place.layout.low_resolution, hidden=True)
    assert not storage.list_files(place.layout.high_resolution, hidden=True)


@pytest.mark.localstack
@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize("mode", ["upscale", "evaluate"])
@pytest.mark.parametrize(("length", "objects"), [(10, 1), (3000, 2)])
def test_on_s3_an_image_carries_its_reference_if_it_is_short(
    bucket: str, mode: Mode, length: int, objects: int
) -> None:
    storage._s3_client.cache_clear()  # it may have been made for another endpoint
    place = make_place(f"s3://{bucket}/data")
    content = encode_png_bytes(noise(1, 3, 20, 30))
    reference = referring(mode, "https://example.org/" + "a" * length)
    store_image(content, reference, place.layout, place.settings.processing)
    files = storage.list_files(place.layout.low_resolution)
    assert len(files) == objects
    low = next(file.uri for file in files if file.name.endswith(".png"))
    assert reference_of(low) == reference
    assert decode(storage.read_bytes(low), ANY_SIZE).info.width == (30 if mode == "upscale" else 15)
    storage._s3_client.cache_clear()

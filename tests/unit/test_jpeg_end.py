"""A JPEG without its end mark is whole if every pixel is there."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from superres.errors import ImageRejectedError
from superres.imaging.decoding import decode, decode_file
from superres.imaging.limits import Limits
from tests.support import image_files

LIMITS = Limits(max_bytes=10**6, max_pixels=10**6)
PIXELS = image_files.photo(40, 48, 3)
END_MARK_BYTES = 2
KINDS: dict[str, bytes] = {
    "baseline": image_files.pillow(PIXELS, "JPEG", quality=90),
    "progressive": image_files.pillow(PIXELS, "JPEG", quality=90, progressive=True),
    "restarts": image_files.pillow(PIXELS, "JPEG", restart_marker_blocks=2),
    "grey": image_files.pillow(PIXELS[..., :1], "JPEG"),
}


def planes(data: bytes) -> NDArray[Any]:
    return decode(data, LIMITS).planes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [1, END_MARK_BYTES])
def test_every_pixel_is_there(kind: str, lost: int, tmp_path: Any) -> None:
    whole = KINDS[kind]
    np.testing.assert_array_equal(planes(whole[:-lost]), planes(whole))
    path = tmp_path / "photo.jpg"
    path.write_bytes(whole[:-lost])
    image = decode_file(path, LIMITS)
    for _ in range(2):  # an image can be read again
        strips = list(image.strips(7))
        np.testing.assert_array_equal(np.concatenate(strips, axis=1), planes(whole))


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_cut_gives_other_pixels(kind: str) -> None:
    whole = KINDS[kind]
    pixels, rejected = planes(whole), 0
    for size in range(3, len(whole)):
        try:
            shown = planes(whole[:size])
        except ImageRejectedError:
            rejected += 1
            continue
        np.testing.assert_array_equal(shown, pixels)
    # Bits that only fill the last byte are no pixels.
    assert rejected >= len(whole) - 3 - 4


def test_the_end_mark_of_a_thumbnail_is_another() -> None:
    whole, thumbnail = KINDS["baseline"], image_files.pillow(PIXELS[:8, :8], "JPEG")
    segment = b"\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = whole[:2] + segment + whole[2:]
    np.testing.assert_array_equal(planes(data[:-END_MARK_BYTES]), planes(whole))
    with pytest.raises(ImageRejectedError, match="JPEG data is truncated"):
        planes(data[: 2 + len(segment) + len(whole) // 2])


def test_what_follows_the_end_mark_does_not_matter() -> None:
    whole = KINDS["progressive"]
    other = image_files.pillow(PIXELS, "JPEG")
    for appended in (b"\0", b"appended by some phone" * 50, other[:99], other):
        np.testing.assert_array_equal(planes(whole + appended), planes(whole))

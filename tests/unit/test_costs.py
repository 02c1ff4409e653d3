"""What an image may cost follows from its outline and the limits."""

import dataclasses

import pytest

from superres.errors import ImageRejectedError
from superres.imaging.costs import SMALL_BYTES, check_costs, memory_of, out_of_memory
from superres.imaging.limits import Limits
from superres.imaging.outline import Outline

LIMITS = Limits(max_bytes=10**9, max_pixels=200_000_000)
LARGE = SMALL_BYTES + 1
SQUARE = Outline(14_142, 14_142, pixel_bytes=3)


def rejection(outline: Outline, size: int = LARGE) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        check_costs("PNG", outline, size, LIMITS)
    return str(caught.value)


@pytest.mark.parametrize("pixel_bytes", [1, 3, 4])
@pytest.mark.parametrize("size", [100, SMALL_BYTES, LARGE])
def test_what_is_decoded_in_strips_may_have_all_pixels(pixel_bytes: int, size: int) -> None:
    check_costs("PNG", dataclasses.replace(SQUARE, pixel_bytes=pixel_bytes), size, LIMITS)


def test_one_pixel_more_is_too_many() -> None:
    check_costs("PNG", Outline(20_000, 10_000, 3), LARGE, LIMITS)
    reason = rejection(Outline(20_000, 10_001, 3))
    assert reason == (
        "the PNG has 20,000 × 10,001 pixels, over the limit of 200,000,000; use a smaller image or"
        " raise the limit"
    )


def test_small_files_may_not_take_much_memory() -> None:
    whole = dataclasses.replace(SQUARE, held_bytes=4)
    check_costs("PNG", whole, LARGE, LIMITS)
    assert memory_of(whole) == 7 * 14_142**2
    assert rejection(whole, SMALL_BYTES) == (
        "decoding the PNG takes 1,336 MiB, over the limit of 954 MiB for a file of 1,048,576 bytes;"
        " use a smaller image or raise the limit of pixels"
    )


def test_the_limit_of_memory_grows_with_that_of_pixels_and_does_not_shrink() -> None:
    whole = dataclasses.replace(SQUARE, held_bytes=4)
    check_costs("PNG", whole, 1, Limits(10**9, 300_000_000))
    check_costs("PNG", Outline(1_000, 1_000, 4, held_bytes=12), 1, Limits(10**9, 1_000_000))


@pytest.mark.parametrize(("width", "height"), [(1_000_001, 1), (1, 1_000_001)])
def test_a_side_is_bounded(width: int, height: int) -> None:
    check_costs("PNG", Outline(min(width, 10**6), min(height, 10**6), 3), LARGE, LIMITS)
    assert "a side over the limit of 1,000,000; cut it" in rejection(Outline(width, height, 3))


def test_results_may_have_longer_sides_than_what_they_are_made_of() -> None:
    """Their limit of pixels is that of images, times the square of the scale."""
    result = Outline(4_000_000, 4, 3)
    check_costs("PNG", result, LARGE, Limits(10**9, LIMITS.max_pixels * 4**2))


@pytest.mark.parametrize(("size", "most"), [(SMALL_BYTES, 25), (LARGE, 125)])
def test_passes_are_bounded_by_what_each_costs(size: int, most: int) -> None:
    check_costs("JPEG", dataclasses.replace(SQUARE, passes=most), size, LIMITS)
    check_costs("JPEG", Outline(1_000, 1_000, 3, passes=200 * most), size, LIMITS)
    check_costs("JPEG", Outline(1_000, 1_000, 3, passes=200 * most), size, Limits(10**9, 10**6))
    reason = rejection(dataclasses.replace(SQUARE, passes=most + 1), size)
    assert f"over the limit of {most * 200:,} for a file of its size; save it as PNG" in reason


def test_bytes_that_cannot_hold_the_pixels_are_truncated() -> None:
    assert "so few bytes cannot hold 14,142 × 14,142 pixels" in rejection(
        dataclasses.replace(SQUARE, most_pixels=14_142**2 - 1)
    )
    check_costs("GIF", dataclasses.replace(SQUARE, most_pixels=14_142**2), LARGE, LIMITS)


def test_a_lack_of_memory_is_told_with_what_is_needed() -> None:
    assert str(out_of_memory("decoding the GIF", SQUARE)) == (
        "decoding the GIF of 14,142 × 14,142 pixels takes 573 MiB, and there is not enough memory;"
        " use a smaller image or a machine with more"
    )
    assert str(out_of_memory("reading the GIF", None)) == (
        "for reading the GIF there is not enough memory; use a smaller image or a machine with more"
    )

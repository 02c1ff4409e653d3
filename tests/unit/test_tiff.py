"""Kinds of TIFF: the right pixels, or a rejection that names the kind and the remedy."""

import contextlib
import io
import itertools
import struct
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from superres.errors import ImageRejectedError
from superres.imaging.decoding import check, decode
from superres.imaging.limits import Limits
from tests.support import image_files
from tests.support.tiff_files import (
    ALPHA,
    CMYK,
    DEFLATE,
    LAB,
    MIN_IS_BLACK,
    OFFSET_OF_DATA,
    OLD_JPEG,
    PALETTE,
    PREMULTIPLIED,
    RGB,
    SIZE_OF_DATA,
    UNSPECIFIED,
    YCBCR,
    Page,
    write,
)

LIMITS = Limits(max_bytes=10**7, max_pixels=10**6)
HEIGHT, WIDTH = 96, 112
COLOUR = image_files.photo(HEIGHT, WIDTH, 3)
DEEP = image_files.photo(HEIGHT, WIDTH, 3, depth=16)
GREY, OTHER = image_files.photo(HEIGHT, WIDTH, 1), image_files.photo(HEIGHT, WIDTH, 1, seed=5)
SHORT, LONG = 3, 4
NEW_SUBFILE_TYPE, SUBFILE_TYPE, SUB_IFDS, COMPRESSION = 254, 255, 330, 259


def decoded(data: bytes, page: int | None = None) -> NDArray[Any]:
    """(H, W, C) samples."""
    return np.moveaxis(decode(data, LIMITS, page=page).planes(), 0, -1)


def rejection(data: bytes) -> str:
    with pytest.raises(ImageRejectedError) as caught:
        decode(data, LIMITS).planes()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_libtiff(picture: Image.Image, compression: str) -> bytes:
    return image_files.pillow(picture, "TIFF", compression=compression)


@pytest.mark.parametrize(
    ("order", "big", "planar", "tile", "compression"),
    list(itertools.product("<>", (False, True), (False, True), (None, 32), (1, DEFLATE))),
)
def test_every_layout_of_rgb_decodes_by_value(
    order: Any, big: bool, planar: bool, tile: int | None, compression: int
) -> None:
    for pixels in (COLOUR, DEEP):
        page = Page(pixels, tile=tile, planar=planar, compression=compression)
        data = write(page, order=order, big=big)
        if planar and tile and pixels is DEEP:
            assert "16 bits a sample with separate planes, which is not read" in rejection(data)
        elif planar and tile and order == ">" and big:
            assert "rare kind" in rejection(data)  # Pillow finds no size in such a file
        else:
            np.testing.assert_array_equal(decoded(data), pixels)


# ---- damage


def tiled(compression: int) -> bytes:
    return write(Page(COLOUR, tile=32, compression=compression))


@pytest.mark.parametrize("compression", [1, DEFLATE])
@pytest.mark.parametrize("tile", [None, 32])
def test_a_truncated_file_is_rejected(compression: int, tile: int | None) -> None:
    data = write(Page(COLOUR, tile=tile, compression=compression))
    np.testing.assert_array_equal(decoded(data), COLOUR)
    for share in (0.5, 0.9):
        assert "TIFF data is truncated, damaged" in rejection(data[: int(len(data) * share)])


def test_one_damaged_tile_is_enough() -> None:
    data = bytearray(tiled(DEFLATE))
    middle = 3 * len(data) // 4
    data[middle : middle + 16] = b"\xff" * 16
    assert "TIFF data is truncated, damaged" in rejection(bytes(data))


def test_a_truncated_file_of_a_codec_that_pillow_reads_is_rejected() -> None:
    data = with_libtiff(Image.fromarray(COLOUR), "zstd")
    assert "TIFF data is truncated, damaged" in rejection(data[: len(data) // 2])


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize(
    "tags",
    [
        {65000: (SHORT, (1, 2, 3))},  # private
        {336: (SHORT, (5,))},  # DotRange, of which there should be two
        {282: (SHORT, (72,))},  # XResolution, which should be a fraction
        {305: (SHORT, (65,))},  # Software, which should be text
    ],
)
def test_faults_that_cost_no_pixel_are_no_reason(
    tile: int | None, tags: dict[int, tuple[int, tuple[int, ...]]]
) -> None:
    np.testing.assert_array_equal(decoded(write(Page(COLOUR, tile=tile, tags=tags))), COLOUR)


@pytest.mark.parametrize("tile", [None, 32])
def test_unsorted_tags_are_no_reason(tile: int | None) -> None:
    data = bytearray(write(Page(COLOUR, tile=tile)))
    first, second = slice(10, 22), slice(22, 34)
    data[first], data[second] = data[second], data[first]
    np.testing.assert_array_equal(decoded(bytes(data)), COLOUR)


# ---- codecs


@pytest.mark.parametrize("compression", ["zstd", "lzma"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "I;16"])
def test_codecs_that_libvips_lacks_decode_by_value(compression: str, mode: str) -> None:
    if mode == "I;16":
        pixels = DEEP[..., 0]
        data = with_libtiff(Image.fromarray(pixels), compression)
    else:
        picture = Image.fromarray(image_files.photo(HEIGHT, WIDTH, 4)).convert(mode)
        shown = {"1": "L", "P": "RGB"}.get(mode, mode)
        pixels, data = np.asarray(picture.convert(shown)), with_libtiff(picture, compression)
    np.testing.assert_array_equal(decoded(data), pixels.reshape(HEIGHT, WIDTH, -1))


def test_a_profile_is_applied_whoever_decodes() -> None:
    profile = image_files.icc_profile(image_files.ADOBE_RGB, 563 / 256)
    picture = Image.fromarray(COLOUR)
    by_libvips, by_pillow = (
        decoded(image_files.pillow(picture, "TIFF", compression=codec, icc_profile=profile))
        for codec in ("tiff_lzw", "zstd")
    )
    assert np.abs(by_libvips.astype(int) - COLOUR).mean() > 3
    np.testing.assert_array_equal(by_pillow, by_libvips)


@pytest.mark.parametrize(
    ("compression", "name"),
    [(34887, "LERC"), (50001, "WebP"), (34712, "JPEG 2000"), (50002, "JPEG XL"), (4711, "4711")],
)
def test_a_codec_that_nothing_reads_is_named(compression: int, name: str) -> None:
    page = Page(COLOUR, tags={COMPRESSION: (SHORT, (compression,))})
    reason = rejection(write(page))
    assert name in reason
    assert "LZW or Deflate" in reason


def test_16_bit_colour_is_not_reduced_to_8() -> None:
    page = Page(DEEP, tags={COMPRESSION: (SHORT, (50000,))})
    assert "16 bits a sample with Zstandard, which is not read" in rejection(write(page))


def jpeg_in_tiff(where: str) -> tuple[bytes, NDArray[Any]]:
    """Old-style JPEG (TIFF 6.0, section 22) in one strip or tile, and what it shows."""
    jpeg = image_files.pillow(COLOUR, "JPEG", quality=95, subsampling=2)
    tags = {
        512: (SHORT, (1,)),
        513: (LONG, (OFFSET_OF_DATA,)),
        514: (LONG, (SIZE_OF_DATA,)),
        530: (SHORT, (2, 2)),
    }
    if where == "tile":
        tags |= {322: (LONG, (WIDTH,)), 323: (LONG, (HEIGHT,))}
        tags |= {324: (LONG, (0,)), 325: (LONG, (len(jpeg),))}
    page = Page(COLOUR, YCBCR, data=jpeg, tags={COMPRESSION: (SHORT, (OLD_JPEG,)), **tags})
    return write(page), np.asarray(Image.open(io.BytesIO(jpeg)))


@pytest.mark.parametrize("where", ["strip", "tile"])
def test_old_style_jpeg_shows_its_picture(where: str) -> None:
    data, shown = jpeg_in_tiff(where)
    # libtiff repeats chroma where libjpeg interpolates it.
    difference = np.abs(decoded(data).astype(int) - shown)
    assert difference.mean() < 5
    assert difference.max() <= 20


# ---- colours


def subsampled(horizontal: int, vertical: int) -> bytes:
    """YCbCr without compression; blocks of luma, then Cb and Cr (TIFF 6.0, section 21)."""
    ycbcr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    rows, columns = HEIGHT // vertical, WIDTH // horizontal
    blocks = ycbcr.reshape(rows, vertical, columns, horizontal, 3).swapaxes(1, 2)
    luma = blocks[..., 0].reshape(rows, columns, -1)
    chroma = blocks[..., 1:].mean((2, 3)).round().astype(np.uint8)
    data = np.concatenate([luma, chroma], axis=-1).tobytes()
    return write(Page(COLOUR, YCBCR, data=data, tags={530: (SHORT, (horizontal, vertical))}))


@pytest.mark.parametrize("steps", [(1, 1), (2, 1), (2, 2)])
def test_ycbcr_without_jpeg_becomes_rgb(steps: tuple[int, int]) -> None:
    wanted = COLOUR
    if steps != (1, 1):  # libtiff repeats chroma; what it shows is that of blocks
        wide = Image.fromarray(COLOUR).convert("YCbCr")
        planes = np.asarray(wide).astype(int).copy()
        for c in (1, 2):
            mean = planes[..., c].reshape(HEIGHT // steps[1], steps[1], WIDTH // steps[0], steps[0])
            small = mean.mean((1, 3)).round().astype(int)
            planes[..., c] = small.repeat(steps[1], 0).repeat(steps[0], 1)
        wanted = np.asarray(Image.fromarray(planes.astype(np.uint8), "YCbCr").convert("RGB"))
    assert np.abs(decoded(subsampled(*steps)).astype(int) - wanted).max() <= 5


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_ycbcr_becomes_rgb(compression: str) -> None:
    data = with_libtiff(Image.fromarray(COLOUR).convert("YCbCr"), compression)
    assert np.abs(decoded(data).astype(int) - COLOUR).max() <= 5


def test_cie_lab_becomes_srgb() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    picture = ImageCms.profileToProfile(Image.fromarray(COLOUR), srgb, lab, outputMode="LAB")
    assert picture is not None
    of_8_bits = decoded(image_files.pillow(picture, "TIFF"))
    assert np.abs(of_8_bits.astype(int) - COLOUR).mean() < 1.5
    # Lightness 0 to 100 of 65535, a* and b* with sign in steps of 1/256.
    light, a, b = (np.asarray(band).astype(np.int32) for band in picture.split())
    deep = np.dstack([light * 257, (a - 128) * 256, (b - 128) * 256]).astype(np.uint16)
    of_16_bits = decoded(write(Page(deep, LAB)))
    assert of_16_bits.dtype == np.uint16
    assert np.abs(of_16_bits / 257 - COLOUR).mean() < 1.5


def test_12_bits_use_the_whole_range_of_16() -> None:
    levels = GREY[..., 0].astype(np.uint16) * 16 + 5
    pairs = levels.reshape(HEIGHT, WIDTH // 2, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], axis=-1)
    page = Page(GREY, MIN_IS_BLACK, data=packed.astype(np.uint8).tobytes(), bits=12)
    wanted = np.rint(levels / 4095 * 65535)
    np.testing.assert_array_equal(decoded(write(page))[..., 0], wanted)


# ---- channels beside the colours


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(
    "extra",
    [
        (UNSPECIFIED,),
        (UNSPECIFIED, UNSPECIFIED),
        (ALPHA,),
        (ALPHA, UNSPECIFIED),
        (UNSPECIFIED, ALPHA),
    ],
)
def test_only_alpha_is_alpha(extra: tuple[int, ...], planar: bool, deep: bool) -> None:
    colours = DEEP if deep else COLOUR
    beside = [image_files.photo(HEIGHT, WIDTH, 1, 16 if deep else 8, seed=k) for k in (1, 2)]
    samples = np.dstack([colours, *beside[: len(extra)]])
    alpha = [beside[place] for place, kind in enumerate(extra) if kind == ALPHA]
    image = decode(write(Page(samples, RGB, extra, planar=planar)), LIMITS)
    np.testing.assert_array_equal(np.moveaxis(image.planes(), 0, -1), np.dstack([colours, *alpha]))
    unused = extra.count(UNSPECIFIED)
    assert [f"{unused} channel" in remark for remark in image.remarks] == [True] * bool(unused)


def test_a_fourth_channel_without_a_word_is_alpha() -> None:
    samples = np.dstack([COLOUR, GREY])
    np.testing.assert_array_equal(decoded(write(Page(samples, RGB))), samples)


@pytest.mark.parametrize("depth", [8, 16])
def test_two_bands_of_radar_give_the_first(depth: int) -> None:
    bands = image_files.photo(HEIGHT, WIDTH, 2, depth)
    data = write(Page(bands, MIN_IS_BLACK, (UNSPECIFIED,)))
    np.testing.assert_array_equal(decoded(data), bands[..., :1])


def test_separate_planes_of_grey_are_read_right_or_rejected() -> None:
    bands = np.dstack([GREY, OTHER])
    data = write(Page(bands, MIN_IS_BLACK, (UNSPECIFIED,), planar=True))
    np.testing.assert_array_equal(decoded(data), GREY)
    reason = rejection(write(Page(bands, MIN_IS_BLACK, (ALPHA,), planar=True)))
    assert "grey and alpha in separate planes; save it with interleaved channels" in reason


def test_five_channels_are_three_colours_and_two_that_are_left_out() -> None:
    samples = np.dstack([COLOUR, GREY, OTHER])
    np.testing.assert_array_equal(
        decoded(write(Page(samples, RGB, (UNSPECIFIED, UNSPECIFIED)))), COLOUR
    )


def test_a_spot_colour_beside_cmyk_is_left_out() -> None:
    inks = image_files.photo(HEIGHT, WIDTH, 4)
    with_spot = write(Page(np.dstack([inks, GREY]), CMYK, (UNSPECIFIED,)))
    np.testing.assert_array_equal(decoded(with_spot), decoded(write(Page(inks, CMYK))))


# ---- what is rejected


@pytest.mark.parametrize(
    ("page", "fragments"),
    [
        (Page(GREY.astype(np.float32), 1), ("32-bit floating-point", "scale the values")),
        (Page(GREY.astype(np.float16), 1), ("16-bit floating-point", "scale the values")),
        (Page(COLOUR.astype(np.float32)), ("32-bit floating-point", "scale the values")),
        (Page(GREY.astype(np.int16), 1), ("16-bit signed integers", "scale the values")),
        (Page(GREY.astype(np.int8), 1), ("8-bit signed integers", "scale the values")),
        (Page(GREY.astype(np.complex64), 1), ("complex numbers", "scale the values")),
        (Page(GREY.astype(np.uint32), 1), ("32 bits a sample", "scale the values")),
        (Page(COLOUR, bits=12), ("12 bits a sample", "save it as")),
        (Page(np.dstack([COLOUR, COLOUR])), ("6 channels without saying", "save it as")),
        (
            Page(np.dstack([COLOUR, GREY, GREY]), extra=(PREMULTIPLIED, UNSPECIFIED)),
            ("premultiplied alpha", "save it with one alpha channel"),
        ),
        (Page(GREY, 32803), ("camera's raw file", "develop it")),
        (Page(COLOUR, 32845), ("photometric interpretation 32845", "save it as")),
    ],
)
def test_a_kind_that_is_not_read_is_named(page: Page, fragments: tuple[str, ...]) -> None:
    data = write(page)
    reason = rejection(data)
    assert all(fragment in reason for fragment in fragments), reason
    with pytest.raises(ImageRejectedError):  # without decoding anything
        check(data, LIMITS)


def test_the_limits_hold_before_pillow_decodes() -> None:
    data = with_libtiff(Image.fromarray(COLOUR), "zstd")
    with pytest.raises(ImageRejectedError, match="112 × 96 pixels, over the limit"):
        decode(data, replace(LIMITS, max_pixels=HEIGHT * WIDTH - 1))


@pytest.mark.parametrize("compression", ["tiff_lzw", "zstd"])
@pytest.mark.parametrize("width", [50_000, 8])
def test_a_width_that_comes_twice_does_not_get_past_the_limits(
    compression: str, width: int
) -> None:
    data = bytearray(with_libtiff(Image.fromarray(COLOUR), compression))
    start = int.from_bytes(data[4:8], "little") + 2
    numbers = [int.from_bytes(data[start + 12 * k :][:2], "little") for k in range(12)]
    unneeded = start + 12 * numbers.index(284)  # PlanarConfiguration, 1 where it is missing
    data[unneeded : unneeded + 12] = struct.pack("<HHII", 256, LONG, 1, width)
    with contextlib.suppress(ImageRejectedError):  # or the first one counts
        np.testing.assert_array_equal(decoded(bytes(data)), COLOUR)


# ---- pages


def marked(pixels: NDArray[Any], subfile_type: int) -> Page:
    return Page(pixels, tags={NEW_SUBFILE_TYPE: (LONG, (subfile_type,))})


SMALL = COLOUR[::4, ::4]
REDUCED, MASK = 1, 4


def test_a_thumbnail_that_comes_first_is_passed_over() -> None:
    image = decode(write(marked(SMALL, REDUCED), marked(COLOUR, 0)), LIMITS)
    np.testing.assert_array_equal(np.moveaxis(image.planes(), 0, -1), COLOUR)
    assert image.remarks == ()  # the thumbnail shows nothing else


def test_the_older_tag_marks_a_thumbnail_too() -> None:
    thumbnail = Page(SMALL, tags={SUBFILE_TYPE: (SHORT, (2,))})
    np.testing.assert_array_equal(decoded(write(thumbnail, Page(COLOUR))), COLOUR)


def test_a_mask_is_no_page() -> None:
    image = decode(write(marked(COLOUR, 0), marked(COLOUR // 2, MASK)), LIMITS)
    np.testing.assert_array_equal(np.moveaxis(image.planes(), 0, -1), COLOUR)
    assert image.remarks == ()


def test_nothing_but_reduced_pages_gives_the_first() -> None:
    data = write(marked(COLOUR, REDUCED), marked(SMALL, REDUCED))
    np.testing.assert_array_equal(decoded(data), COLOUR)


def test_a_reduced_page_with_images_below_it_is_a_cameras_raw_file() -> None:
    preview = marked(SMALL, REDUCED)
    page = replace(preview, tags={**preview.tags, SUB_IFDS: (LONG, (8,))})
    assert "camera's raw file; develop it" in rejection(write(page))


def test_further_pages_are_remarked_on_and_can_be_asked_for() -> None:
    pages = [np.roll(COLOUR, 30 * k, axis=1) for k in range(3)]
    data = write(*map(Page, pages))
    assert decode(data, LIMITS).remarks == (
        "page 1 of 3 is taken; superres upscale --page N takes another",
    )
    for number, pixels in enumerate(pages, start=1):
        image = decode(data, LIMITS, page=number)
        np.testing.assert_array_equal(np.moveaxis(image.planes(), 0, -1), pixels)
        assert image.remarks == ()
    with pytest.raises(ImageRejectedError, match="has 3 pages, so there is no page 4"):
        decode(data, LIMITS, page=4)


def test_a_page_is_counted_as_it_stands_in_the_file() -> None:
    data = write(marked(SMALL, REDUCED), marked(COLOUR, 0), marked(COLOUR // 2, 0))
    assert decode(data, LIMITS).remarks[0].startswith("page 2 of 3 is taken")
    np.testing.assert_array_equal(decoded(data, page=1), SMALL)
    np.testing.assert_array_equal(decoded(data, page=3), COLOUR // 2)


def test_pages_in_a_ring_end() -> None:
    np.testing.assert_array_equal(decoded(write(Page(COLOUR), ring=True)), COLOUR)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_ends_in_an_image_or_a_rejection(data: st.DataObject) -> None:
    good = [
        tiled(DEFLATE),
        write(Page(np.dstack([COLOUR, GREY]), RGB, (UNSPECIFIED,)), Page(COLOUR), big=True),
        subsampled(2, 2),
        jpeg_in_tiff("tile")[0],
        with_libtiff(Image.fromarray(COLOUR), "lzma"),
        write(Page(GREY, PALETTE, tags={320: (SHORT, tuple(range(768)))})),
    ]
    damaged = bytearray(data.draw(st.sampled_from(good)))
    for _ in range(data.draw(st.integers(1, 4))):
        # Mostly in the directory, which stands at the start.
        place = data.draw(st.integers(0, len(damaged) - 1) | st.integers(0, 250))
        damaged[place] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings(), contextlib.suppress(ImageRejectedError):
        warnings.simplefilter("error")
        image = decode(bytes(damaged), LIMITS)
        assert image.planes().shape[0] == image.info.channels

"""Small files that try to cost much are rejected at once, or read at a price that is bounded."""

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from superres.errors import ImageRejectedError
from superres.imaging import gif_blocks, jpeg_segments, outline, png_chunks, with_pillow
from superres.imaging.costs import check_costs
from superres.imaging.decoding import check, decode, decode_file
from superres.imaging.jpeg import jpeg_quality
from superres.imaging.limits import Limits
from superres.imaging.outline import Outline
from tests.support import image_files
from tests.support.hostile_files import HOSTILE, flat_png, png_with, segment
from tests.support.image_corpus import corpus
from tests.support.paths import ROOT

LIMITS = Limits(max_bytes=512 << 20, max_pixels=200_000_000)
SLACK = 4
"""How many times slower than the one that the bars are for a machine may be."""

REJECTED = {
    **dict.fromkeys(
        ("exif-segments.jpg", "empty-segments.jpg", "comments.jpg", "scans-20000.jpg"),
        "more than 4,096 segments; save it again without metadata",
    ),
    "scans-60.jpg": "takes as long as one of 14,000 megapixels, over the limit of 5,000",
    "deep-colour.png": "takes as long as one of 15,125 megapixels, over the limit of 5,000",
    "empty-chunks.png": "too many chunks",
    "ztxt.png": "texts and colour profile unpack to more than 64 MiB; save it without metadata",
    "itxt.png": "unpack to more than 64 MiB",
    "ztxt-after.png": "unpack to more than 64 MiB",
    "no-pixels.gif": "so few bytes cannot hold 14,142 × 14,142 pixels",
    "comments.gif": "30,000 blocks; use a part of it",
    "chunks.webp": "too many chunks",
    "frames.webp": "too many chunks",
    "flat.webp": "takes 1,525 MiB, over the limit of 954 MiB for a file of 36 bytes",
    "directories-of-many-tags.tif": "too many tags",
    "huge-tile.tif": "over the limit of 954 MiB for a file",
    "narrow-tiles.tif": "tiles of 16 pixels, too narrow for 1,000,000",
    "tall-strips.tif": "a side over the limit of 1,000,000; cut it into several images",
    "no-pixels.bmp": "so few bytes cannot hold",
    "run-lengths.bmp": "run-length encoded and has 199,996,164 pixels",
    "tall.bmp": "so few bytes cannot hold",
}
"""Files that their structure gives away, and a part of the reason."""


@pytest.mark.parametrize("name", REJECTED)
def test_what_a_header_gives_away_is_rejected_by_check_and_decode(name: str) -> None:
    data = HOSTILE[name]()
    for read in (check, decode):
        with pytest.raises(ImageRejectedError) as caught:
            read(data, LIMITS)
        reason = str(caught.value)
        assert REJECTED[name] in reason, reason
        assert len(reason.splitlines()) == 1


@pytest.mark.timeout(30)  # seconds; the rows of tall images once took time by their square
@pytest.mark.parametrize("name", ["tall.png", "wide.png", "tall-palette.png"])
def test_tall_and_wide_images_take_no_longer_than_others(name: str) -> None:
    image = decode(HOSTILE[name](), LIMITS)
    planes = image.planes()
    assert planes.shape == (image.info.channels, image.info.height, image.info.width)
    assert planes.size >= 1_000_000
    assert not planes.any()


def test_strips_have_the_rows_that_are_asked_for() -> None:
    """However few rows are read at a time."""
    pixels = image_files.noise(3_001, 3, 3, 8)
    image = decode(image_files.png(pixels), LIMITS)
    for rows in (1, 500, 512, 513, 1_300, 3_001, 5_000):
        strips = list(image.strips(rows))
        heights = [strip.shape[1] for strip in strips]
        assert heights[:-1] == [rows] * (len(strips) - 1)
        assert sum(heights) == 3_001
        np.testing.assert_array_equal(np.moveaxis(np.concatenate(strips, axis=1), 0, -1), pixels)


@pytest.mark.timeout(60)
def test_many_segments_of_exif_are_counted_not_joined(tmp_path: Path) -> None:
    """As 40 MB in 20,000 segments once took over 100 s."""
    jpeg = image_files.pillow(image_files.photo(16, 16), "JPEG")
    path = tmp_path / "segments.jpg"
    path.write_bytes(jpeg[:2] + segment(0xE1, b"Exif\0\0" + bytes(1_992)) * 20_000 + jpeg[2:])
    for read in (check, decode_file):
        with pytest.raises(ImageRejectedError, match="more than 4,096 segments"):
            read(path, LIMITS)
    assert jpeg_quality(path) is None


PROBE = """
import io
import json
from benchmarks.fuzz import hostile_inputs, read_in_child
for name, data, page in hostile_inputs():
    outcome = read_in_child(data, page)
    print(json.dumps([name, outcome.fault, outcome.check_seconds, outcome.decode_seconds,
                      outcome.memory_mib]), flush=True)
"""


@pytest.mark.slow
def test_every_hostile_file_is_read_within_the_bars() -> None:
    """Each in a process of its own, since a peak of memory never falls."""
    run = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=ROOT, check=True, capture_output=True, text=True
    )
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    assert [name for name, *_ in outcomes] == list(HOSTILE)
    for name, fault, check_seconds, decode_seconds, memory_mib in outcomes:
        assert fault is None, name
        assert check_seconds <= 1 * SLACK, name
        assert decode_seconds <= 10 * SLACK, name
        assert memory_mib <= 1024, name


# ---- what is large, and honest


def test_a_large_jpeg_is_accepted_by_its_header() -> None:
    jpeg = bytearray(image_files.pillow(image_files.photo(16, 16), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 14_000, 14_000)
    assert check(bytes(jpeg), LIMITS) == "jpg"


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "bits"), [(2, 8), (6, 8), (2, 16)])
def test_a_large_flat_png_is_accepted(channels: int, bits: int) -> None:
    data = flat_png(14_000, 14_000, channels, bits, interlaced=False)
    assert check(data, LIMITS) == "png"
    first = next(decode(data, LIMITS).strips(16))
    assert first.shape[1:] == (16, 14_000)


@pytest.mark.parametrize(
    ("mark", "head", "size"),
    [
        (0xE2, b"ICC_PROFILE\0", 4_000_000),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0", 10_000_000),
        (0xE2, b"MPF\0", 10_000_000),
        (0xED, b"Photoshop 3.0\0", 10_000_000),
    ],
    ids=["profile", "XMP", "MPF", "Photoshop"],
)
def test_a_jpeg_may_have_megabytes_of_metadata(mark: int, head: bytes, size: int) -> None:
    pixels = image_files.photo(16, 16)
    jpeg = image_files.pillow(pixels, "JPEG", quality=90)
    room = 65_533 - len(head)
    count = -(-size // room)
    parts = b"".join(
        segment(mark, head + bytes([n % 256, count]) + bytes(room - 2)) for n in range(count)
    )
    data = jpeg[:2] + parts + jpeg[2:]
    assert check(data, LIMITS) == "jpg"
    np.testing.assert_array_equal(decode(data, LIMITS).planes(), decode(jpeg, LIMITS).planes())
    assert jpeg_quality(data) == 90


def test_a_png_may_have_megabytes_of_text() -> None:
    pixels = image_files.photo(16, 16)
    xmp = np.random.default_rng(0).integers(32, 127, 10_000_000, np.uint8).tobytes()
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp, 1)
    data = png_with((b"iTXt", packed), (b"tEXt", b"a\0" + xmp[:1_000_000]))
    assert check(data, LIMITS) == "png"
    np.testing.assert_array_equal(np.moveaxis(decode(data, LIMITS).planes(), 0, -1), pixels)


@pytest.mark.parametrize("format_name", ["TIFF", "GIF", "PNG", "WEBP"])
def test_a_file_may_have_hundreds_of_pages(format_name: str) -> None:
    first, *others = (Image.fromarray(np.full((4, 5), n * 37 % 256, np.uint8)) for n in range(300))
    data = image_files.pillow(first, format_name, save_all=True, append_images=others)
    check(data, LIMITS)
    image = decode(data, LIMITS)
    assert image.remarks[0].startswith("page 1 of 300 is taken")
    assert (image.info.width, image.info.height) == (5, 4)


def test_a_progressive_jpeg_of_many_scans_is_read() -> None:
    """A hundred scans are within the limit where the picture is small."""
    jpeg = image_files.pillow(image_files.photo(64, 64), "JPEG", progressive=True)
    scan = segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + bytes(16)
    assert jpeg_segments.read_outline(io.BytesIO(jpeg)).passes == 10
    many = jpeg[:-2] + scan * 90 + jpeg[-2:]
    check(many, LIMITS)
    with pytest.raises(ImageRejectedError, match="101 scans, over the limit of 100"):
        check(jpeg[:-2] + scan * 91 + jpeg[-2:], LIMITS)


def test_a_turned_image_is_held_whole() -> None:
    data = HOSTILE["turned.png"]()
    with pytest.raises(ImageRejectedError, match="decoding the PNG takes 1,145 MiB"):
        decode(data, LIMITS)
    larger = data + bytes(1 << 20)
    assert decode(larger, LIMITS).info.width == 14_142


def test_run_lengths_end_with_the_pixels() -> None:
    whole = corpus()["run-lengths.bmp"]
    check(whole + bytes(1_000), LIMITS)
    with pytest.raises(ImageRejectedError, match="more run lengths than pixels"):
        check(whole[:-2] + bytes(100_000), LIMITS)


def test_a_later_frame_costs_all_before_it() -> None:
    frames = [Image.fromarray(np.full((4, 5), n, np.uint8)) for n in range(3)]
    data = bytearray(image_files.pillow(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    data[6:10] = struct.pack("<HH", 12_000, 12_000)  # of the screen; the frames stay small
    assert decode(bytes(data), LIMITS).info.width == 12_000
    with pytest.raises(ImageRejectedError, match="decoding the GIF takes 2,198 MiB"):
        decode(bytes(data), LIMITS, page=3)
    with pytest.raises(ImageRejectedError, match=r"as long as one of 5,120 megapixels"):
        check_costs("GIF", Outline(800, 800, 4).of_frame(999), 10**6, LIMITS)


@pytest.mark.parametrize("name", ["GIF", "BMP"])
def test_a_palette_is_applied_in_rows_where_the_picture_is_large(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    colours = Image.fromarray(image_files.photo(50, 40)).quantize(60)
    options = {"transparency": 7} if name == "GIF" else {}
    data = image_files.pillow(colours, name, **options)
    at_once = decode(data, LIMITS).planes()
    monkeypatch.setattr(with_pillow, "_CONVERTED_PIXELS", 0)
    monkeypatch.setattr(with_pillow, "_BAND_BYTES", 300)
    np.testing.assert_array_equal(decode(data, LIMITS).planes(), at_once)
    assert at_once.shape[0] == (4 if options else 3)


def test_a_profile_of_too_many_elements_counts_as_broken() -> None:
    """Little CMS once took 15 s for it."""
    few, many = (decode(HOSTILE[f"profile-elements{n}.jpg"](), LIMITS) for n in ("-8", ""))
    plain = decode(image_files.pillow(image_files.photo(16, 16), "JPEG"), LIMITS).planes()
    np.testing.assert_array_equal(many.planes(), plain)
    assert np.abs(few.planes().astype(int) - plain).max() > 5


def test_limits_of_parts_leave_room_for_every_page() -> None:
    assert png_chunks.MOST_OTHER_CHUNKS > 2 * outline.MOST_PAGES
    assert gif_blocks.MOST_BLOCKS > 2 * outline.MOST_PAGES

"""Copies for everybody: the same pixels, and nothing about people and places."""

import io
import struct
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.ExifTags import IFD, Base

from superres.errors import ImageRejectedError
from superres.imaging.decoding import decode
from superres.imaging.icc import Chromaticities, Curve, grey_profile, rgb_profile
from superres.imaging.limits import Limits
from superres.imaging.public_copy.exif import PREFIX, public_exif
from superres.imaging.public_copy.icc import public_profile
from superres.imaging.public_copy.writing import write_public_copy
from tests.support import image_files, private_metadata
from tests.support.private_metadata import CAMERA, DATE, MODEL, PLANTED, exif, profile

WIDE = Chromaticities((0.68, 0.32), (0.265, 0.69), (0.15, 0.06), (0.3127, 0.3290))
ANY = Limits(1 << 30, 1 << 30)
FILES = {
    "jpeg": private_metadata.jpeg,
    "progressive": lambda: private_metadata.jpeg(progressive=True),
    "png": private_metadata.png,
    "webp": private_metadata.webp,
    "animated": lambda: private_metadata.webp(frames=2),
}


def is_planted(content: bytes) -> bool:
    return PLANTED.encode() in content or PLANTED.encode("utf-16-be") in content


def copied(content: bytes, folder: Path) -> bytes:
    (folder / "original").write_bytes(content)
    write_public_copy(folder / "original", folder / "copy")
    return (folder / "copy").read_bytes()


@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO")
@pytest.mark.parametrize("kind", FILES)
def test_a_copy_has_the_same_pixels_and_nothing_planted(kind, tmp_path):
    original = FILES[kind]()
    assert original.count(PLANTED.encode()) > 3
    copy = copied(original, tmp_path)
    assert not is_planted(copy)
    assert np.array_equal(decode(copy, ANY).planes(), decode(original, ANY).planes())
    with Image.open(io.BytesIO(copy)) as ours, Image.open(io.BytesIO(original)) as theirs:
        assert ours.info["icc_profile"] == public_profile(theirs.info["icc_profile"])
        assert getattr(ours, "n_frames", 1) == getattr(theirs, "n_frames", 1)
        for frame in range(getattr(ours, "n_frames", 1)):
            ours.seek(frame)
            theirs.seek(frame)
            assert ours.tobytes() == theirs.tobytes()
        shown = ours.getexif()
    assert dict(shown.get_ifd(IFD.Exif)) == {Base.DateTimeOriginal: DATE, Base.ColorSpace: 1}
    del shown[IFD.Exif]
    assert dict(shown) == {
        Base.Orientation: 6, Base.Make: CAMERA, Base.Model: MODEL, Base.DateTime: DATE
    }  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_copy_of_a_copy_is_equal(kind, tmp_path):
    copy = copied(FILES[kind](), tmp_path)
    assert copied(copy, tmp_path) == copy


def test_compressed_texts_of_a_png_are_left_out(tmp_path):
    chunks = []
    data, offset = copied(private_metadata.png(), tmp_path), 8
    while offset < len(data):
        (size,) = struct.unpack(">I", data[offset : offset + 4])
        chunk = data[offset + 4 : offset + 8 + size]
        (checksum,) = struct.unpack(">I", data[offset + 8 + size : offset + 12 + size])
        assert zlib.crc32(chunk) == checksum
        chunks.append(chunk[:4])
        offset += 12 + size
    assert not {b"tEXt", b"zTXt", b"iTXt", b"prVt"} & set(chunks)
    assert {b"iCCP", b"pHYs", b"eXIf"} < set(chunks)


def test_a_file_without_metadata_stays_as_it_is(tmp_path):
    photo = image_files.photo(40, 60)
    for content in (image_files.png(photo), image_files.pillow(photo, "JPEG")):
        assert copied(content, tmp_path) == content


def test_a_jpeg_without_end_mark_is_copied(tmp_path):
    content = image_files.pillow(image_files.photo(40, 60), "JPEG").removesuffix(b"\xff\xd9")
    assert copied(content, tmp_path) == content


def test_a_png_that_is_cut_off_behind_its_pixels_is_copied(tmp_path):
    content = image_files.png(image_files.photo(40, 60))
    pixels = decode(content, ANY).planes()
    whole = content[:-12]  # without the end chunk
    behind = [content[-12:], struct.pack(">I", 40) + b"tEXt" + PLANTED.encode() * 2]
    for cut in {chunk[:size] for chunk in behind for size in range(1, len(chunk))}:
        assert np.array_equal(decode(whole + cut, ANY).planes(), pixels)
        assert copied(whole + cut, tmp_path) == whole


@pytest.mark.parametrize("missing", range(1, 20, 6))
def test_a_png_that_is_cut_off_within_its_pixels_is_refused(missing, tmp_path):
    content = image_files.png(image_files.photo(40, 60))[:-12]
    with pytest.raises(ImageRejectedError, match="a chunk is cut off"):
        copied(content[:-missing], tmp_path)


@pytest.mark.parametrize("mark", [0xDC, 0xDE, 0xDF, *range(0xF0, 0xFF), 0xC8, 0x02])
@pytest.mark.parametrize("before", [b"\xff\xdb", b"\xff\xda", b"\xff\xd9"])
def test_a_segment_that_no_decoder_needs_is_left_out(mark, before, tmp_path):
    content = image_files.pillow(image_files.photo(40, 60), "JPEG")
    segment = bytes([0xFF, mark]) + struct.pack(">H", 2 + len(PLANTED)) + PLANTED.encode()
    copy = copied(content.replace(before, segment + before, 1), tmp_path)
    assert copy == content


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_what_is_copied_of_a_cut_file_has_nothing_planted(kind, share, tmp_path):
    content = FILES[kind]()
    with suppress(ImageRejectedError):
        copied(content[: int(len(content) * share)], tmp_path)
    assert PLANTED.encode() not in (tmp_path / "copy").read_bytes()


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"BM", b"words", private_metadata.tiff()])
def test_other_formats_are_refused(content, tmp_path):
    with pytest.raises(ImageRejectedError, match="cannot be removed"):
        copied(content, tmp_path)


def test_a_large_file_takes_little_memory(tmp_path):
    content = private_metadata.jpeg()
    scan = content.index(b"\xff\xda") + 14
    (tmp_path / "large").write_bytes(content[:scan] + bytes(50 << 20) + b"\xff\xd9")
    tracemalloc.start()
    write_public_copy(tmp_path / "large", tmp_path / "copy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "copy").stat().st_size > 50 << 20
    assert peak < 8 << 20


# ---- EXIF


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_stays(orientation):
    kept = Image.Exif()
    kept.load(PREFIX + public_exif(exif(orientation).removeprefix(PREFIX)))
    assert kept[Base.Orientation] == orientation


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (Base.Orientation, 9),
        (Base.Make, "x" * 100),
        (Base.Model, "A\x07B"),
        (Base.DateTime, f"31 January, {PLANTED}"),
    ],
)
def test_a_value_that_is_not_what_it_should_be_is_left_out(tag, value):
    written = Image.Exif()
    written[tag] = value
    assert public_exif(written.tobytes().removeprefix(PREFIX)) == b""


@given(st.binary(max_size=300), st.integers(0, 200), st.sampled_from([b"II*\0", b"MM\0*", b""]))
def test_damaged_exif_raises_nothing(noise, at, head):
    content = exif().removeprefix(PREFIX)
    assert PLANTED.encode() not in public_exif(content[:at] + noise + content[at:])
    public_exif(head + noise)


# ---- profiles


def colours_of(given: bytes) -> list[int]:
    """What becomes of some colours in this profile when they are shown."""
    stripes = Image.fromarray(np.arange(0, 240, 20).astype(np.uint8).reshape(1, 4, 3))
    source, shown = (ImageCms.ImageCmsProfile(io.BytesIO(each)) for each in (given, SRGB))
    return list(ImageCms.profileToProfile(stripes, source, shown).tobytes())


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def test_a_profile_keeps_its_colours_and_loses_its_names():
    public = public_profile(profile())
    assert is_planted(profile())
    assert not is_planted(public)
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(public))).strip()
    assert colours_of(public) == colours_of(profile()) != colours_of(SRGB)
    assert public_profile(public) == public


@pytest.mark.parametrize("make", [grey_profile, lambda curve: rgb_profile(WIDE, curve)])
def test_profiles_of_version_2_and_of_grey_can_be_read(make):
    public = public_profile(make(Curve(gamma=1.8)))
    opened = ImageCms.ImageCmsProfile(io.BytesIO(public)).profile
    assert opened.profile_description == "Colour profile"


@given(st.integers(0, 900), st.binary(max_size=40))
def test_a_damaged_profile_raises_nothing(at, noise):
    damaged = profile()[:at] + noise + profile()[at + len(noise) :]
    public = public_profile(damaged)
    assert len(public) <= 2 * len(damaged)


def test_a_profile_in_many_segments_stays_whole(tmp_path):
    large = profile_with(b"A2B0", b"mft2" + bytes(range(256)) * 800)
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG", icc_profile=large)
    with Image.open(io.BytesIO(copied(stream.getvalue(), tmp_path))) as copy:
        assert copy.info["icc_profile"] == public_profile(large)
        assert len(copy.info["icc_profile"]) > 200_000


def profile_with(name: bytes, tag: bytes) -> bytes:
    """The profile with one more tag."""
    plain = profile()
    (count,) = struct.unpack_from(">I", plain, 128)
    end = 132 + 12 * count
    moved = b"".join(
        struct.pack(">4sII", each, start + 12, size)
        for each, start, size in struct.iter_unpack(">4sII", plain[132:end])
    )
    table = (
        struct.pack(">I", count + 1) + moved + struct.pack(">4sII", name, len(plain) + 12, len(tag))
    )
    whole = plain[4:128] + table + plain[end:] + tag
    return struct.pack(">I", len(whole) + 4) + whole

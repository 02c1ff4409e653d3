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
from PIL import Image
from PIL.ExifTags import IFD, Base

from superres.errors import ImageRejectedError
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.imaging.public_copy.exif import PREFIX, public_exif
from superres.imaging.public_copy.writing import write_public_copy
from tests.support import image_files, private_metadata
from tests.support.private_metadata import CAMERA, DATE, MODEL, PLANTED, exif, profile

ANY = Limits(1 << 30, 1 << 30)
FILES = {
    "jpeg": private_metadata.jpeg,
    "progressive": lambda: private_metadata.jpeg(progressive=True),
    "png": private_metadata.png,
    "webp": private_metadata.webp,
    "animated": lambda: private_metadata.webp(frames=2),
}


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
    assert PLANTED.encode() not in copy
    assert np.array_equal(decode(copy, ANY).planes(), decode(original, ANY).planes())
    with Image.open(io.BytesIO(copy)) as ours, Image.open(io.BytesIO(original)) as theirs:
        assert ours.info["icc_profile"] == theirs.info["icc_profile"] == profile()
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

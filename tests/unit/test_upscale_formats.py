"""`superres upscale` with --format, --quality, --metadata, --profile and a file as --output."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.ExifTags import IFD, Base

from superres.cli.main import execute
from superres.imaging.encoding.formats import FORMATS
from superres.imaging.png import encode_png_bytes
from superres.pipeline.output_folder import read_manifest
from tests.support.commands import files, make, pixels, upscaled
from tests.support.image_files import ADOBE_RGB, icc_profile, photo, pillow
from tests.unit.test_georeference import SCALE, geotiff
from tests.unit.test_metadata import DATE, full_jpeg

pytestmark = pytest.mark.usefixtures("folder")


def upscale(*arguments: str) -> int:
    return execute(["upscale", *arguments])


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_written_under_its_suffix(name):
    source = make("in/a.png", 40, 33)
    assert upscale("in", "-o", "large", "--format", name) == 0
    assert files("large") == [f"a_x2{FORMATS[name].suffix}"]
    with Image.open(f"large/a_x2{FORMATS[name].suffix}") as picture:
        assert picture.format == FORMATS[name].label.upper()
        result = np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    difference = np.abs(result.astype(int) - upscaled(source, 2))
    assert difference.mean() < (0.01 if name in ("png", "tiff") else 6)


@pytest.mark.parametrize(
    ("file", "kind"),
    [("big.jpg", "JPEG"), ("big.JPEG", "JPEG"), ("big.tiff", "TIFF"), ("deep/big.webp", "WEBP")],
)
def test_the_suffix_of_the_output_says_the_format(file, kind, capsys):
    make("a.png")
    assert upscale("a.png", "--output", file) == 0
    assert capsys.readouterr().out == f"{file}\n"
    with Image.open(file) as picture:
        assert (picture.format, picture.size) == (kind, (62, 48))


def test_a_file_as_output_is_replaced_by_its_own_source_alone(capsys):
    make("a.png")
    make("b.png", seed=2)
    Path("theirs.jpg").write_bytes(b"x")
    for _ in range(2):
        assert upscale("a.png", "-o", "big.jpg") == 0
    before = Path("big.jpg").read_bytes()
    for taken in ("big.jpg", "theirs.jpg"):
        assert upscale("b.png", "-o", taken) == 1
        assert "choose another --output" in capsys.readouterr().err
    assert Path("big.jpg").read_bytes() == before
    assert Path("theirs.jpg").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.png", "b.png", "-o", "big.jpg"], "big.jpg is one file, and there are 2 images; give"),
        (["a.png", "-o", "big.jpg", "--format", "tiff"], "contradict; give the file the suffix"),
        (["a.png", "--quality", "90"], "--quality 90 is for JPEG, WebP and AVIF; PNG loses"),
        (["a.png", "--format", "jpeg", "--quality", "0"], "0 is not in the range 1<=x<=100"),
        (["a.png", "--format", "bmp"], "'bmp' is not one of"),
        (["a.png", "-o", "big.gif"], "--output big.gif: .gif cannot be written; choose PNG, JPEG"),
        (["a.png", "-o", "big.HEIC"], "--output big.HEIC: .heic cannot be written; choose PNG,"),
    ],
)
def test_options_that_contradict_are_wrong_usage(arguments, reason, capsys):
    make("a.png")
    make("b.png")
    assert upscale(*arguments) == 2
    assert reason in " ".join(capsys.readouterr().err.split())
    assert files() == ["a.png", "b.png"]


def test_what_a_format_cannot_hold_is_one_line_and_the_rest_is_done(capsys):
    deep = np.ascontiguousarray(np.moveaxis(photo(20, 20, 3, 16), -1, 0))
    Path("in").mkdir()
    Path("in/deep.png").write_bytes(encode_png_bytes(deep))
    Path("in/cut.png").write_bytes(pillow(photo(20, 20, 4), "PNG"))
    make("in/good.png")
    assert upscale("in", "-o", "large", "--format", "jpeg") == 3
    assert capsys.readouterr().err.splitlines()[:2] == [
        "superres: in/cut.png: it has transparency, and JPEG has none; choose PNG, WebP, AVIF or"
        " TIFF",
        "superres: in/deep.png: it has 16 bits a sample, and JPEG holds 8; choose PNG or TIFF",
    ]
    assert files("large") == ["good_x2.jpg"]
    assert upscale("in", "-o", "large", "--format", "tiff") == 0
    assert pixels("large/deep_x2.tif").dtype == np.uint16
    assert pixels("large/cut_x2.tif").shape[0] == 4


def test_the_manifest_knows_what_the_options_said():
    make("a.png")
    assert upscale("a.png", "-o", "large", "--format", "jpeg", "--metadata", "strip") == 0
    assert upscale("a.png", "-o", "large", "--format", "avif", "--quality", "60") == 0
    assert upscale("a.png", "-o", "large", "--format", "webp", "--quality", "85") == 0
    results = read_manifest(Path("large")).results
    assert {name: result.settings.recipe.members for name, result in results.items()} == {
        "a_x2.jpg": {"format": "jpeg", "metadata": "strip"},
        "a_x2.avif": {"format": "avif", "quality": 60},
        "a_x2.webp": {"format": "webp"},  # the default, said or unsaid, is the same
    }


def test_a_result_in_another_format_is_not_upscaled_again(capsys):
    make("a.png")
    assert upscale(".", "--format", "jpeg") == 0
    assert upscale(".", "--format", "jpeg") == 0
    assert files() == ["a.png", "a_x2.jpg"]


@pytest.mark.parametrize(
    ("policy", "has_date", "has_place"),
    [("keep", True, True), ("no-location", True, False), ("strip", False, False)],
)
def test_metadata_is_kept_as_the_option_says(policy, has_date, has_place):
    Path("a.jpg").write_bytes(full_jpeg())
    assert upscale("a.jpg", "--metadata", policy) == 0
    with Image.open("a_x2.png") as picture:
        found = picture.getexif()
        assert (found.get(Base.DateTime) == DATE) is has_date
        assert (IFD.GPSInfo in found) is has_place
        history = picture.info.get("xmp", b"").decode()
    named = "to 80 x 60 pixels with fsrcnn_x2_jpeg-66-83.safetensors, SHA-256 " in history
    assert named is (policy != "strip")


def test_damaged_metadata_is_a_remark(capsys):
    Path("a.png").write_bytes(pillow(photo(9, 9), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"))
    assert upscale("a.png") == 0
    assert capsys.readouterr().err.splitlines()[0] == (
        "superres: a.png: its EXIF is damaged and left out"
    )


def test_a_georeference_is_kept_by_tiff_and_its_loss_said_by_others(capsys):
    Path("map.tif").write_bytes(geotiff({SCALE: (0.5, 0.5, 0.0)}))
    assert upscale("map.tif", "--format", "tiff") == 0
    assert "georeference" not in capsys.readouterr().err
    with tifffile.TiffFile("map_x2.tif") as file:
        assert file.pages[0].tags[SCALE].value == (0.25, 0.25, 0.0)
    assert upscale("map.tif") == 0
    lost = "superres: map.tif: its georeference is lost; only TIFF can keep it (--format tiff)"
    assert capsys.readouterr().err.splitlines()[0] == lost


@pytest.mark.parametrize("name", FORMATS)
def test_a_profile_is_kept_with_its_samples(name):
    profile = icc_profile(ADOBE_RGB, 563 / 256)
    plain, tagged = make("plain.png"), Path("tagged.png")
    with Image.open(plain) as picture:
        picture.save(tagged, icc_profile=profile)
    suffix = FORMATS[name].suffix
    assert upscale("tagged.png", "--format", name, "--profile", "keep") == 0
    assert upscale("plain.png", "--format", name) == 0
    with Image.open(f"tagged_x2{suffix}") as kept, Image.open(f"plain_x2{suffix}") as usual:
        assert kept.info["icc_profile"] == profile
        assert np.array_equal(np.asarray(kept), np.asarray(usual))
    assert upscale("tagged.png", "--format", name) == 0
    with Image.open(f"tagged_x2{suffix}") as converted, Image.open(f"plain_x2{suffix}") as usual:
        assert converted.info.get("icc_profile") == usual.info.get("icc_profile")
        assert not np.array_equal(np.asarray(converted), np.asarray(usual))


@pytest.mark.parametrize("name", FORMATS)
def test_a_profile_that_is_none_counts_as_srgb(name):
    source = pillow(photo(20, 20), "PNG", icc_profile=b"no profile")
    Path("a.png").write_bytes(source)
    assert upscale("a.png", "--format", name, "--profile", "keep") == 0
    with Image.open(io.BytesIO(Path(f"a_x2{FORMATS[name].suffix}").read_bytes())) as picture:
        assert picture.info.get("icc_profile") != b"no profile"

"""What of a folder is read, and that everything else that looks like an image is named."""

from pathlib import Path

import pytest

from superres.errors import ConfigError, RecordError
from superres.pipeline.input_folder import images_of, listed
from superres.pipeline.output_folder import MANIFEST_NAME, OutputFolder
from tests.support.image_files import photo, pillow
from tests.support.unusual_files import LONG, NO_FILES, NOT_UTF8, make_no_files

JPEG = pillow(photo(8, 8), "JPEG")
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0"


def write(folder: Path, **contents: bytes) -> None:
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def add_result(folder: Path, source: str) -> None:
    output = OutputFolder(folder, 2, None)
    with output.unfinished() as unfinished:
        unfinished.write_bytes(JPEG)
        output.add(unfinished, Path(source), "a" * 64, "b" * 64)


def test_images_in_other_formats_are_named_and_jpeg_is_taken_by_any_of_its_names(tmp_path):
    names = ("IMG_0001.jpg", "from_chrome.jfif", "old.jpe")
    write(tmp_path, **dict.fromkeys(names, JPEG))
    write(tmp_path, **{"IMG_0002.HEIC": AVIF, "web.avif": AVIF, "web.jxl": b"\xff\x0a\0\0"})
    write(tmp_path, **{"notes.txt": b"no image", ".hidden.heic": AVIF, "raw.nef": b"II*\0\0\0"})
    found = listed(tmp_path)
    assert found.images == list(names)
    (remark,) = found.remarks
    assert remark == (
        f"{tmp_path}: left out, because only JPEG, PNG, WebP, TIFF, BMP, GIF can be read; convert"
        " these: IMG_0002.HEIC, raw.nef, web.avif, web.jxl"
    )


def test_the_content_decides_on_a_file_with_the_suffix_of_another_format(tmp_path):
    write(tmp_path, **{"IMG_0001.HEIC": JPEG, "IMG_0002.HEIC": AVIF, "broken.jpg": AVIF})
    found = listed(tmp_path)
    assert found.images == ["IMG_0001.HEIC", "broken.jpg"]  # the latter is rejected with a reason
    assert "IMG_0002.HEIC" in found.remarks[0]


def test_many_names_are_cut_short(tmp_path):
    write(tmp_path, **{f"{n:02}.heic": AVIF for n in range(13)})
    assert listed(tmp_path).remarks[0].endswith(" 08.heic, 09.heic and 3 more")


def test_what_is_no_file_is_named_and_the_others_are_found(tmp_path):
    make_no_files(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "sub").mkdir()
    (tmp_path / "linked").symlink_to("sub")
    for name in (NOT_UTF8, *LONG.values()):
        write(tmp_path, **{name: JPEG})
    found = listed(tmp_path)
    assert found.images == sorted([NOT_UTF8, *LONG.values()])
    assert found.folders == ["linked", "sub"]
    assert found.remarks == [
        f"{tmp_path / name}: left out: {reason}" for name, reason in NO_FILES.items()
    ]


def test_results_are_no_input_however_they_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **{"a.jpg": JPEG, NOT_UTF8: JPEG, "b_x2.png": JPEG})
    for source in ("a.jpg", NOT_UTF8):
        add_result(Path(), source)
    remark = (
        ".: left out, because superres-results.json there lists them as results:"
        r" a_x2.png, caf\xe9_x2.png"
    )
    images = {Path("a.jpg"), Path(NOT_UTF8), Path("b_x2.png")}
    for given in ([Path()], sorted(Path().glob("[!.]*"))):  # a folder, and * in the shell
        files, remarks = images_of(given)
        assert set(files) == images
        assert remarks == [remark]


def test_every_file_is_given_once(tmp_path):
    write(tmp_path, **{"a.jpg": JPEG, "b.jpg": JPEG})
    (tmp_path / "link.jpg").symlink_to("a.jpg")  # a name of its own gives a result of its own
    again = tmp_path.parent / f"{tmp_path.name}-link"
    again.symlink_to(tmp_path)
    files, remarks = images_of([tmp_path / "b.jpg", tmp_path, again, tmp_path / "absent.jpg"])
    assert [file.name for file in files] == ["b.jpg", "a.jpg", "link.jpg", "absent.jpg"]
    assert not remarks


def test_a_folder_with_nothing_that_looks_like_an_image_is_an_error(tmp_path):
    write(tmp_path, **{"notes.txt": JPEG})
    with pytest.raises(ConfigError, match=r"no images there; use a folder of \.bmp, \.gif, \.jfif"):
        images_of([tmp_path])


def test_a_damaged_manifest_is_an_error(tmp_path):
    write(tmp_path, **{"a.jpg": JPEG, MANIFEST_NAME: b"{"})
    for given in (tmp_path, tmp_path / "a.jpg"):
        with pytest.raises(RecordError, match=MANIFEST_NAME):
            images_of([given])

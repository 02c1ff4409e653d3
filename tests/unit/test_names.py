"""Names of files: printable whatever their bytes, and no longer than a file system allows."""

import pytest

from superres.errors import StorageError
from superres.imaging.files import (
    FOREIGN_SUFFIXES,
    SUFFIXES,
    is_foreign_name,
    is_image_name,
    sha256_of,
    why_no_file,
)
from superres.imaging.names import located, readable, unfinished_name, utf8_alias
from superres.imaging.png import encode_png_bytes
from tests.support.image_files import photo
from tests.support.unusual_files import NO_FILES, NOT_UTF8, make_no_files


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("写真 ½.jpg", "写真 ½.jpg"),
        (NOT_UTF8, r"caf\xe9.jpg"),
        ("a\nb\x1b[2J.jpg", r"a\nb\x1b[2J.jpg"),
        ("\ud800", r"\ud800"),
    ],
)
def test_a_readable_name_can_be_encoded_and_is_one_line(name, printed):
    assert readable(name) == printed
    readable(name).encode()


def test_unfinished_names_are_hidden_short_and_different():
    names = {unfinished_name() for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith(".") and len(name) < 50 for name in names)


def test_a_file_whose_name_is_not_utf8_has_an_alias_while_it_is_needed(tmp_path):
    file = tmp_path / NOT_UTF8
    file.write_bytes(b"content")
    with utf8_alias(file) as alias:
        str(alias).encode()
        assert alias.read_bytes() == b"content"
    assert not alias.parent.exists()
    with utf8_alias(tmp_path / "é.jpg") as same:
        assert same == tmp_path / "é.jpg"


def test_the_place_of_a_file_has_no_linked_folder_and_keeps_its_own_name(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "loop.jpg").symlink_to("loop.jpg")
    assert located(tmp_path / "link" / "loop.jpg") == tmp_path.resolve() / "real" / "loop.jpg"


def test_what_is_no_file_is_said_and_never_opened(tmp_path):
    make_no_files(tmp_path)
    assert {name: why_no_file(tmp_path / name) for name in NO_FILES} == NO_FILES
    assert why_no_file(tmp_path) == "a folder, not a file"
    assert why_no_file(tmp_path / "absent.jpg") == "No such file or directory"
    assert why_no_file(tmp_path / ("n" * 300)) == "File name too long"
    for name in NO_FILES:
        with pytest.raises(StorageError, match=f"cannot read .*{name}: {NO_FILES[name]}; check"):
            sha256_of(tmp_path / name)


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "a.png").write_bytes(encode_png_bytes(photo(3, 3)[None, ..., 0]))
    (tmp_path / "link.png").symlink_to("a.png")
    assert why_no_file(tmp_path / "link.png") is None
    assert sha256_of(tmp_path / "link.png") == sha256_of(tmp_path / "a.png")


def test_names_of_images():
    assert not SUFFIXES & FOREIGN_SUFFIXES
    assert all(map(is_image_name, ("a.JPG", "a.jfif", "a.jpe", "a.b.tiff")))
    assert not any(map(is_image_name, (".a.jpg", "a.heic", "a", "jpg", "a.jpg.part")))
    assert all(map(is_foreign_name, ("IMG_0002.HEIC", "web.avif", "web.jxl", "raw.CR2")))
    assert not any(map(is_foreign_name, (".a.heic", "notes.txt", "a.jpg")))

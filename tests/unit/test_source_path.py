"""The names that images bring along."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from superres.pipeline.source_path import SourcePath, path_of_file, path_of_url, source_path

CHECKED = TypeAdapter(SourcePath)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Urlaub 2026/Süd/IMG_0001.jpg", "Urlaub 2026/Süd/IMG_0001.jpg"),
        ("/etc/passwd", "etc/passwd"),
        ("../../a/./b//c.jpg", "a/b/c.jpg"),
        ("写真/\n.png", "写真/\\n.png"),
        ("b\udce9.png", "b\\xe9.png"),
        ("..", None),
        ("", None),
    ],
)
def test_any_text_becomes_a_path_below_a_folder(text: str, path: str | None) -> None:
    assert source_path(text) == path
    if path is not None:
        assert CHECKED.validate_python(path) == path


def test_a_very_long_path_keeps_its_end() -> None:
    path = source_path("/".join(["folder"] * 2000) + "/a.jpg")
    assert path is not None
    assert path.endswith("/folder/a.jpg")
    CHECKED.validate_python(path)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "../a", "a/..", "./a", "a\nb", "a" * 5000]
)
def test_a_record_with_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        CHECKED.validate_python(path)


def test_a_file_has_its_folders_below_the_source() -> None:
    assert path_of_file(Path("/photos/day 1/a.jpg"), Path("/photos")) == "day 1/a.jpg"
    assert path_of_file(Path("/photos/day 1/a.jpg")) == "a.jpg"
    assert path_of_file(Path("/elsewhere/a.jpg"), Path("/photos")) == "a.jpg"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://example.org/a/photo%20one.jpg?sig=secret", "photo one.jpg"),
        ("https://example.org/a%2F..%2Fb.jpg", "a_.._b.jpg"),
        ("https://example.org/image/?id=7", "image"),
        ("https://user:secret@example.org/", None),
        ("https://example.org/%2e%2e", None),
    ],
)
def test_a_url_gives_the_last_part_of_its_path(url: str, path: str | None) -> None:
    assert path_of_url(url) == path

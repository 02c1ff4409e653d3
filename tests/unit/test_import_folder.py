"""Importing a folder for a run on one machine: which files, under which names."""

from pathlib import Path

import pytest

from jobs.import_folder import find_images, import_images
from superres.errors import ConfigError
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of
from superres.pipeline.output_folder import OutputFolder
from superres.pipeline.records import Mode
from tests.conftest import RunSetup
from tests.support.image_files import photo, pillow
from tests.support.unusual_files import LONG, NO_FILES, NOT_UTF8, make_no_files

JPEG = pillow(photo(20, 20), "JPEG")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    (path / "sub" / "deeper").mkdir(parents=True)
    return path


def test_images_are_found_in_subfolders_and_what_is_left_out_is_named(folder):
    for name in ("b.jpg", "sub/a.jfif", "sub/deeper/c.JPE", ".hidden.jpg", "notes.txt"):
        (folder / name).write_bytes(JPEG)
    (folder / "sub" / "web.jxl").write_bytes(b"\xff\x0a")
    (folder / "sub" / "back").symlink_to(folder)
    output = OutputFolder(folder, 2, None)
    with output.unfinished() as unfinished:
        unfinished.write_bytes(JPEG)
        output.add(unfinished, folder / "b.jpg", "a" * 64, "b" * 64)
    make_no_files(folder / "sub" / "deeper")
    files, remarks = find_images(folder)
    assert [str(file.relative_to(folder)) for file in files] == [
        "b.jpg",
        "sub/a.jfif",
        "sub/deeper/c.JPE",
    ]
    assert remarks[0].endswith(" lists them as results: b_x2.png")
    assert remarks[1].endswith(" can be read; convert these: web.jxl")
    assert remarks[2:] == [
        f"{folder}/sub/deeper/{name}: left out: {reason}" for name, reason in NO_FILES.items()
    ]
    assert find_images(folder / "b_x2.png")[0] == []
    assert find_images(folder / "notes.txt") == ([folder / "notes.txt"], [])


def test_where_there_is_no_image_one_line_says_why(folder):
    with pytest.raises(ConfigError, match="no images there"):
        find_images(folder)
    make_no_files(folder)
    for name, reason in NO_FILES.items():
        with pytest.raises(ConfigError, match=f"{name}: {reason}; give an image or a folder"):
            find_images(folder / name)
    with pytest.raises(ConfigError, match=r"absent\.jpg: No such file or directory; give"):
        find_images(folder / "absent.jpg")


@pytest.mark.parametrize("mode", ["upscale", "evaluate"])
def test_images_of_any_name_are_imported(mode: Mode, folder: Path, run_setup: RunSetup) -> None:
    names = [NOT_UTF8, *LONG.values()]
    for name in names:
        (folder / name).write_bytes(JPEG)
    other_bytes = folder / NOT_UTF8.replace(".jpg", ".webp")
    other_bytes.write_bytes(pillow(photo(20, 20), "WEBP"))
    files, _ = find_images(folder)
    imported = list(import_images(files, mode, run_setup.settings.processing, run_setup.layout))
    assert [image.rejected for image in imported] == [None] * (len(names) + 1)
    stored = storage.list_files(run_setup.layout.low_resolution)
    references = [reference_of(file.uri) for file in stored if not file.uri.endswith(".json")]
    assert {reference.source for reference in references if reference} == {
        r"folder:caf\xe9.jpg",
        r"folder:caf\xe9.webp",
        *(f"folder:{name}" for name in LONG.values()),
    }


def test_what_is_no_file_is_rejected_with_the_reason(folder: Path, run_setup: RunSetup) -> None:
    make_no_files(folder)
    (folder / NOT_UTF8).write_bytes(b"<html>")
    files = [folder / name for name in (*NO_FILES, NOT_UTF8)]
    imported = list(
        import_images(files, "upscale", run_setup.settings.processing, run_setup.layout)
    )
    reasons = [image.rejected for image in imported]
    assert all(
        expected in str(reason)
        for expected, reason in zip(NO_FILES.values(), reasons, strict=False)
    )
    assert "not an image of an accepted format" in str(reasons[-1])
    assert len(storage.list_files(run_setup.layout.arrival_rejection("x").rpartition("/")[0])) == 6

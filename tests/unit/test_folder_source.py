"""The folder source: existing files and new ones."""

import os
import shutil
from pathlib import Path

import pytest

from ingestion.sources.folder import FolderSource
from ingestion.sources.settling import Settling
from ingestion.sources.source import Seen
from superres.pipeline.output_folder import MANIFEST_NAME, OutputFolder
from superres.pipeline.records import ImageReference
from tests.support.source_reading import WANTED, following, read_all, write
from tests.support.unusual_files import NO_FILES, NOT_UTF8, make_no_files


def add_result(folder: Path, source: Path) -> None:
    output = OutputFolder(folder, 2, None)
    with output.unfinished() as unfinished:
        unfinished.write_bytes(b"content")
        output.add(unfinished, source, "a" * 64, "b" * 64)


def names(references: list[ImageReference]) -> list[str]:
    return [Path(reference.url.full).name for reference in references]


def test_a_folder_is_walked_in_order_of_names(tmp_path):
    for name in ("b.JPG", "a/z.png", "a/y.webp", "c.tiff", "_DSC1.jpeg"):
        write(tmp_path / name)
    for name in ("note.txt", ".hidden.png", ".cache/x.png", "a/.y.png.part"):
        write(tmp_path / name)
    found, errors = read_all(FolderSource(tmp_path, WANTED))
    assert not errors
    assert names(found) == ["_DSC1.jpeg", "y.webp", "z.png", "b.JPG", "c.tiff"]
    assert found[0].url.full == (tmp_path / "_DSC1.jpeg").as_uri()
    assert [each.path for each in found[1:4]] == ["a/y.webp", "a/z.png", "b.JPG"]


def test_an_image_in_a_folder_is_identified_by_path_and_content(tmp_path):
    file = write(tmp_path / "a.png", b"one")
    (first,), _ = read_all(FolderSource(tmp_path, WANTED))
    (again,), _ = read_all(FolderSource(tmp_path, WANTED))
    file.write_bytes(b"two")
    (changed,), _ = read_all(FolderSource(tmp_path, WANTED))
    assert first.image_id == again.image_id != changed.image_id


def test_a_folder_with_circular_links_is_walked_once(tmp_path):
    write(tmp_path / "a" / "one.png")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    elsewhere = write(tmp_path.parent / f"{tmp_path.name}-beside" / "two.png")
    (tmp_path / "linked").symlink_to(elsewhere.parent)
    found, errors = read_all(FolderSource(tmp_path, WANTED))
    assert (names(found), errors) == (["one.png", "two.png"], [])


def test_what_is_left_out_is_said_and_the_others_are_found(tmp_path):
    write(tmp_path / "sub" / "a.jfif")
    write(tmp_path / "sub" / "b.heic")
    make_no_files(tmp_path / "sub")
    write(tmp_path / "sub" / NOT_UTF8)
    add_result(tmp_path / "sub", tmp_path / "sub" / "a.jfif")
    found, remarks = read_all(FolderSource(tmp_path, WANTED))
    assert names(found) == ["a.jfif", "caf%E9.jpg"]
    assert found[1].source == r"folder:caf\xe9.jpg"
    assert remarks[:-2] == [
        f"{tmp_path / 'sub' / name}: left out: {reason}" for name, reason in NO_FILES.items()
    ]
    assert remarks[-2].endswith(" can be read; convert these: b.heic")
    assert remarks[-1].endswith(" lists them as results: a_x2.png")


def test_a_folder_of_what_is_left_out_alone_is_reported(tmp_path):
    write(tmp_path / "a.heic")
    found, (remark, error) = read_all(FolderSource(tmp_path, WANTED))
    assert not found
    assert "a.heic" in remark
    assert "contains no image file" in error


def test_a_folder_with_a_damaged_manifest_is_reported_and_the_others_are_walked(tmp_path):
    write(tmp_path / "damaged" / "a.png")
    write(tmp_path / "damaged" / MANIFEST_NAME, b"{")
    write(tmp_path / "open" / "b.png")
    found, (error,) = read_all(FolderSource(tmp_path, WANTED))
    assert names(found) == ["b.png"]
    assert f"damaged/{MANIFEST_NAME}: not readable" in error


def test_a_followed_folder_finds_names_that_are_not_utf8_and_goes_on(tmp_path):
    source = FolderSource(tmp_path, WANTED, follow_seconds=3600, settle_seconds=0.05)
    with following(source) as followed:
        assert followed.nothing_for(0.3)
        for number in range(2):  # the watch ends at each
            file = write(tmp_path / f"{number}-{NOT_UTF8}")
            assert followed.next() == file.as_uri()
        file = write(tmp_path / "a.png")
        assert followed.next() == file.as_uri()
        assert followed.nothing_for(0.3)


def test_a_followed_folder_yields_no_result_and_says_once_what_is_left_out(tmp_path):
    write(tmp_path / "b.heic")
    source = FolderSource(tmp_path, WANTED, follow_seconds=0.1, settle_seconds=0.05)
    with following(source) as followed:
        assert followed.next().endswith(" can be read; convert these: b.heic")
        add_result(tmp_path, tmp_path / "a.png")
        assert followed.next().endswith(" lists them as results: a_x2.png")
        image = write(tmp_path / "a.png")
        assert followed.next() == image.as_uri()
        assert followed.nothing_for(0.3)


def test_a_folder_without_images_is_reported(tmp_path):
    found, (error,) = read_all(FolderSource(tmp_path, WANTED))
    assert not found
    assert "contains no image file" in error


def test_an_unreadable_folder_is_reported_and_the_others_are_walked(tmp_path, monkeypatch):
    write(tmp_path / "closed" / "a.png")
    write(tmp_path / "open" / "b.png")
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, (error,) = read_all(FolderSource(tmp_path, WANTED))
    assert names(found) == ["b.png"]
    assert "closed: cannot be listed: Permission denied" in error


@pytest.mark.slow
def test_a_followed_folder_yields_existing_and_new_files(tmp_path):
    folder, outside = tmp_path / "in", tmp_path / "out"
    there = write(folder / "there.png")
    os.utime(there, (1, 1))
    fresh = write(folder / "fresh.png")
    source = FolderSource(folder, WANTED, follow_seconds=60, settle_seconds=0.1)
    with following(source) as followed:
        assert {followed.next(), followed.next()} == {there.as_uri(), fresh.as_uri()}
        moved = folder / "moved.png"
        write(outside / "moved.png").rename(moved)
        assert followed.next() == moved.as_uri()
        write(outside / "album" / "sub" / "one.png")
        write(outside / "album" / "two.png")
        (outside / "album").rename(folder / "album")
        assert {followed.next(), followed.next()} == {
            (folder / "album/sub/one.png").as_uri(),
            (folder / "album/two.png").as_uri(),
        }
        shutil.copytree(folder / "album", folder / "copied")
        assert {followed.next(), followed.next()} == {
            (folder / "copied/sub/one.png").as_uri(),
            (folder / "copied/two.png").as_uri(),
        }
        write(folder / "copied" / "sub" / "new.png")
        assert followed.next() == (folder / "copied/sub/new.png").as_uri()
        write(there, b"changed")
        assert followed.next() == there.as_uri()
        write(folder / ".album" / "three.png")
        write(folder / "note.txt")
        write(folder / "empty.png", b"")
        assert followed.nothing_for(0.5)


def test_a_followed_folder_finds_files_without_an_event(tmp_path, monkeypatch):
    monkeypatch.setattr(FolderSource, "_note_changes", lambda *_: iter(()))
    source = FolderSource(tmp_path, WANTED, follow_seconds=0.1, settle_seconds=0.05)
    with following(source) as followed:
        assert followed.nothing_for(0.3)
        file = write(tmp_path / "a.png")
        assert followed.next() == file.as_uri()
        assert followed.nothing_for(0.3)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_file_is_ready_once_it_has_stopped_growing(tmp_path):
    clock = Clock()
    settling = Settling(0.5, clock, clock)
    file = write(tmp_path / "a.png", b"")
    settling.note(file)
    clock.now += 1
    assert not list(settling.ready())  # empty
    with file.open("ab") as stream:
        for _ in range(3):
            stream.write(b"more")
            stream.flush()
            settling.note(file)
            clock.now += 0.4
            assert not list(settling.ready())
        stream.write(b"unannounced")
    clock.now += 0.4
    assert not list(settling.ready())
    clock.now += 0.6
    assert list(settling.ready()) == [file]
    settling.note(file)
    clock.now += 1
    assert not list(settling.ready())  # already yielded
    gone = write(tmp_path / "gone.png")
    settling.note(gone)
    gone.unlink()
    clock.now += 1
    assert not list(settling.ready())


def test_in_a_walk_old_files_are_ready_at_once_and_fresh_ones_are_not(tmp_path):
    clock = Clock()
    settling = Settling(0.5, clock, clock)
    old, fresh = write(tmp_path / "old.png"), write(tmp_path / "fresh.png")
    os.utime(old, (clock.now - 3, clock.now - 3))
    os.utime(fresh, (clock.now - 1, clock.now - 1))
    assert [settling.is_ready(file) for file in (old, fresh)] == [True, False]
    clock.now += 0.6
    assert list(settling.ready()) == [fresh]
    clock.now += 5
    assert [settling.is_ready(file) for file in (old, fresh)] == [False, False]


def test_seen_forgets_the_oldest_within_its_capacity():
    seen = Seen(capacity=1000)
    assert all(seen.add(str(number)) for number in range(500))
    assert not any(seen.add(str(number)) for number in range(500))
    assert all(seen.add(str(number)) for number in range(500, 5000))
    assert len(seen._young) + len(seen._old) <= 1000
    assert seen.add("0")
    assert not seen.add("4999")

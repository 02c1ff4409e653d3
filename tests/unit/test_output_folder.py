"""A folder of results: who owns which name, and the manifest that says so."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from superres.errors import RecordError, StorageError
from superres.pipeline import output_folder
from superres.pipeline.output_folder import (
    MANIFEST_NAME,
    Manifest,
    OutputFolder,
    ResultSettings,
    is_result,
    read_manifest,
    results_in,
)
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import applied_recipe
from tests.support.unusual_files import LONG, NOT_UTF8

A, B = "a" * 64, "b" * 64


def add(folder: Path, source: Path | str, content: bytes = b"pixels", digest: str = A) -> str:
    """Adds a result of a source; returns its name."""
    output = OutputFolder(folder, 2, None)
    with output.unfinished() as unfinished:
        unfinished.write_bytes(content)
        result = output.add(unfinished, Path(source), digest, B)
    assert result.read_bytes() == content
    assert result.parent == folder
    return result.name


def add_all(folder: Path, sources: Iterable[Path | str]) -> list[str]:
    return [add(folder, source) for source in sources]


def entries(folder: Path) -> dict[str, str]:
    """The source of each result."""
    return {name: result.source for name, result in read_manifest(folder).results.items()}


def visible(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {MANIFEST_NAME, ".superres-results.lock"}


def test_a_source_keeps_its_name_and_a_newcomer_gets_a_longer_one(tmp_path):
    out = tmp_path / "out"
    assert add(out, "/in/b.jpg", b"one") == "b_x2.png"
    assert add(out, "/in/b.bmp", b"two") == "b.bmp_x2.png"
    # In any order, alone or with others, for ever.
    assert add(out, "/in/b.bmp", b"three") == "b.bmp_x2.png"
    assert add(out, "/in/b.jpg", b"four") == "b_x2.png"
    assert visible(out) == {"b_x2.png", "b.bmp_x2.png"}
    assert (out / "b_x2.png").read_bytes() == b"four"


def test_files_of_equal_names_in_several_folders_have_names_of_their_own(tmp_path):
    sources = [f"/{folder}/photo.jpg" for folder in "abcd"]
    names = add_all(tmp_path, sources)
    assert names[:2] == ["photo_x2.png", "photo.jpg_x2.png"]
    assert len(set(names)) == 4
    assert all(name.startswith("photo.jpg-") for name in names[2:])
    # Not the order decides on the digest, but the path.
    other = tmp_path / "other"
    assert add_all(other, [*sources[:2], sources[3], sources[2]])[2:] == names[:1:-1]
    assert add_all(tmp_path, reversed(sources)) == names[::-1]


def test_what_the_manifest_does_not_list_is_never_replaced(tmp_path):
    (tmp_path / "a_x2.png").write_bytes(b"drawn by hand")
    (tmp_path / "a.jpg_x2.png").symlink_to("nowhere")
    name = add(tmp_path, "/in/a.jpg")
    assert name.startswith("a.jpg-")
    assert (tmp_path / "a_x2.png").read_bytes() == b"drawn by hand"
    (tmp_path / name).unlink()
    (tmp_path / MANIFEST_NAME).unlink()
    (tmp_path / name).write_bytes(b"somebody else's, too")
    with pytest.raises(StorageError, match=r"have the names a_x2\.png, a\.jpg_x2\.png"):
        add(tmp_path, "/in/a.jpg")
    assert (tmp_path / name).read_bytes() == b"somebody else's, too"
    assert visible(tmp_path) == {"a_x2.png", "a.jpg_x2.png", name}


def test_names_that_some_file_systems_take_for_equal_are_equal(tmp_path):
    assert add_all(tmp_path, ["/in/a.png", "/in/A.PNG", "/in/\u00e9.png", "/in/e\u0301.png"]) == [
        "a_x2.png",
        "A.PNG_x2.png",
        "\u00e9_x2.png",
        "e\u0301.png_x2.png",
    ]


def test_each_page_that_is_asked_for_has_its_own_result(tmp_path):
    names = []
    for page in (None, 2, 3, 2):
        output = OutputFolder(tmp_path, 2, None)
        with output.unfinished() as unfinished:
            unfinished.touch()
            names.append(output.add(unfinished, Path("/in/scan.tif"), A, B, page).name)
    assert names == ["scan_x2.png", "scan-page2_x2.png", "scan-page3_x2.png", "scan-page2_x2.png"]
    # A file that happens to have that name is another source.
    assert add_all(tmp_path, ["/in/scan-page2.tif"]) == ["scan-page2.tif_x2.png"]


def test_the_manifest_has_source_digest_and_settings(tmp_path):
    output = OutputFolder(tmp_path, 3, applied_recipe(Recipe(grayscale=True)))
    with output.unfinished() as unfinished:
        unfinished.touch()
        output.add(unfinished, tmp_path / "sub" / "100%.png", A, B)
    add(tmp_path, "/elsewhere/b.jpg")
    kept = json.loads((tmp_path / MANIFEST_NAME).read_text("utf-8"))
    assert kept["version"] == 1
    assert kept["results"]["100%25_x3.png"] == {
        "source": "sub/100%25.png",  # so that the folder can be moved
        "source_sha256": A,
        "settings": {
            "scale": 3,
            "recipe": {"key": Recipe(grayscale=True).key, "members": {"grayscale": True}},
            "page": None,
            "model_digest": B,
        },
    }
    assert kept["results"]["b_x2.png"]["source"] == "/elsewhere/b.jpg"
    assert kept["results"]["b_x2.png"]["settings"]["recipe"] is None


def test_a_folder_can_be_moved_with_its_sources(tmp_path):
    (tmp_path / "one").mkdir()
    add(tmp_path / "one", tmp_path / "one" / "a.jpg")
    (tmp_path / "one").rename(tmp_path / "two")
    assert add(tmp_path / "two", tmp_path / "two" / "a.jpg") == "a_x2.png"
    assert add(tmp_path / "two", tmp_path / "one" / "a.jpg") == "a.jpg_x2.png"


@pytest.mark.parametrize("name", LONG.values(), ids=LONG)
def test_the_result_of_a_long_name_has_a_name_that_fits(name, tmp_path):
    assert len(name.encode()) >= 235
    (tmp_path / name).touch()
    result = add(tmp_path, tmp_path / name)
    assert len(result.encode()) <= 255
    assert result.startswith(name[:70])
    assert result.endswith("_x2.png")
    assert add(tmp_path, tmp_path / name) == result
    assert add(tmp_path, tmp_path / "elsewhere" / name) != result


def test_long_names_that_differ_at_their_end_have_different_results(tmp_path):
    assert len(set(add_all(tmp_path, LONG.values()))) == len(LONG)


def test_a_name_that_is_not_utf8_keeps_its_bytes_and_the_manifest_stays_json(tmp_path):
    assert add(tmp_path, tmp_path / NOT_UTF8) == NOT_UTF8.replace(".jpg", "_x2.png")
    assert entries(tmp_path) == {"caf%E9_x2.png": "caf%E9.jpg"}
    (tmp_path / MANIFEST_NAME).read_text("utf-8")
    assert is_result(NOT_UTF8.replace(".jpg", "_x2.png"), results_in(tmp_path))
    assert not is_result("caf%E9_x2.png", results_in(tmp_path))


def test_version_1_stays_readable(tmp_path):
    settings = {"scale": 4, "recipe": None, "model_digest": B}
    entry = {"source": "a.jpg", "source_sha256": A, "settings": settings}
    written = {"version": 1, "results": {"a_x4.png": entry}}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(written))
    (result,) = read_manifest(tmp_path).results.values()
    assert (result.source, result.source_sha256) == ("a.jpg", A)
    assert result.settings == ResultSettings(scale=4, model_digest=B)


def test_what_a_newer_version_has_added_stays(tmp_path):
    add(tmp_path, "/in/a.jpg")
    manifest = json.loads((tmp_path / MANIFEST_NAME).read_text("utf-8"))
    manifest["new"] = manifest["results"]["a_x2.png"]["new"] = {"of": "a newer version"}
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    add(tmp_path, "/in/b.jpg")
    kept = json.loads((tmp_path / MANIFEST_NAME).read_text("utf-8"))
    assert kept["new"] == kept["results"]["a_x2.png"]["new"] == {"of": "a newer version"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not readable: Invalid JSON: EOF .*; move it away to start a new one"),
        (b"\xff\xfe", "not readable: Invalid JSON"),
        (b'{"version": 1, "results": {"a_x2.png": {"source": 1}}}', "results.a_x2.png.source: "),
        (b'{"version": 2}', "version 2 is unknown here .1 is known.; upgrade superres"),
    ],
)
def test_a_manifest_that_cannot_be_read_is_one_line_and_stays(content, reason, tmp_path):
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(RecordError, match=reason) as caught:
        OutputFolder(tmp_path, 2, None)
    assert str(caught.value).startswith(str(tmp_path / MANIFEST_NAME))
    assert "\n" not in str(caught.value)
    assert (tmp_path / MANIFEST_NAME).read_bytes() == content


def test_a_folder_in_the_place_of_a_result_is_one_line(tmp_path):
    (tmp_path / add(tmp_path, "/in/a.jpg")).unlink()
    (tmp_path / "a_x2.png").mkdir()
    with pytest.raises(StorageError, match=f"cannot write to {tmp_path}: Is a directory; check"):
        add(tmp_path, "/in/a.jpg")
    assert visible(tmp_path) == {"a_x2.png"}


def test_an_unfinished_result_leaves_nothing(tmp_path):
    output = OutputFolder(tmp_path, 2, None)

    def interrupted() -> None:
        with output.unfinished() as unfinished:
            unfinished.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


_ADD_MANY = """
import sys
from pathlib import Path
from superres.pipeline.output_folder import OutputFolder
folder, name = Path(sys.argv[1]), sys.argv[2]
output = OutputFolder(folder, 2, None)
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    with output.unfinished() as unfinished:
        unfinished.write_text(f"/{name}/{number}.jpg")
        output.add(unfinished, Path(f"/{name}/{number}.jpg"), "a" * 64, "b" * 64)
"""


def test_the_manifest_is_read_again_only_when_another_command_has_written_it(tmp_path, monkeypatch):
    read: list[Path] = []

    def counted(folder: Path) -> Manifest:
        read.append(folder)
        return read_manifest(folder)

    monkeypatch.setattr(output_folder, "read_manifest", counted)
    output = OutputFolder(tmp_path, 2, None)
    for number in range(3):
        with output.unfinished() as unfinished:
            unfinished.touch()
            output.add(unfinished, Path(f"/in/{number}.jpg"), A, B)
    assert len(read) == 1
    add(tmp_path, "/in/other.jpg")
    with output.unfinished() as unfinished:
        unfinished.touch()
        output.add(unfinished, Path("/in/last.jpg"), A, B)
    assert len(read) == 3
    assert len(entries(tmp_path)) == 5


def test_processes_that_write_at_once_lose_nothing_and_take_nothing_from_each_other(tmp_path):
    command = [sys.executable, "-c", _ADD_MANY, str(tmp_path)]
    adding = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    for process in adding:
        assert process.stdout.readline() == "ready\n"
    for process in adding:
        process.stdin.write("\n")
        process.stdin.flush()
    for process in adding:
        process.communicate(timeout=120)
        assert process.returncode == 0
    owners = entries(tmp_path)
    assert len(owners) == 120
    assert len(set(owners.values())) == 120
    assert visible(tmp_path) == set(owners)
    assert {name: (tmp_path / name).read_text() for name in owners} == owners

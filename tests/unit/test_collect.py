"""Results get the names and folders that their images came with."""

import csv
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from superres.cli.collect import collect_results
from superres.pipeline import storage
from superres.pipeline.collecting import result_names
from superres.pipeline.config_file import validated
from superres.pipeline.layout import Layout, dataset_in, layout_on
from superres.pipeline.records import Evaluation, RejectedImage, StoredImage
from tests.support.evaluation_records import evaluation, image_id

DAY = "2026-01-31"


def finished(number: int, path: str | None, scale: Any = 2) -> Evaluation:
    record = evaluation(number)
    update: dict[str, Any] = {"path": path, "scale": scale}
    return record.model_copy(update=update)


class Stored:
    """Results and records of a day below a folder, and a configuration that names it."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "data"
        self.config = folder / "config.json"
        dataset = dataset_in(str(self.base))
        self.config.write_text(json.dumps({"dataset": dataset.model_dump()}))
        self.settings = validated({"dataset": dataset.model_dump()}, "test")

    def layout(self, scale: int = 2) -> Layout:
        day = datetime.fromisoformat(DAY).date()
        return layout_on(self.settings.dataset, day, scale)

    def finish(self, number: int, path: str | None, scale: int = 2) -> Evaluation:
        layout = self.layout(scale)
        uri = layout.result(image_id(number))
        storage.write_bytes(uri, b"pixels of %d" % number)
        result = StoredImage(uri=uri, width=64, height=48)
        record = finished(number, path, scale).model_copy(update={"result": result})
        storage.write_bytes(layout.evaluation(image_id(number)), record.to_json().encode())
        return record

    def reject(self, number: int, path: str, reason: str = "not an image") -> None:
        record = RejectedImage(
            image_id=image_id(number),
            source=f"folder:{Path(path).name}",
            stage="ingest",
            reason=reason,
            rejected_at=datetime(2026, 1, 31, tzinfo=UTC),
            path=path,
        )
        uri = self.layout().arrival_rejection(image_id(number))
        storage.write_bytes(uri, record.to_json().encode())

    def collect(self, *arguments: str) -> Result:
        return CliRunner().invoke(collect_results, [*arguments, "--config", str(self.config)])


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.suffix not in (".csv", ".json")
    }


def test_results_are_laid_out_as_their_source_was(stored, tmp_path):
    stored.finish(1, "Urlaub/Tag 1/IMG_0001.jpg")
    stored.finish(2, "Urlaub/写真.webp")
    stored.reject(3, "Urlaub/broken.jpg")
    ended = stored.collect(DAY, str(tmp_path / "out"))
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == f"{tmp_path}/out\n"
    assert "2 images, 1 rejected" in ended.stderr
    assert files_below(tmp_path / "out") == {
        "Urlaub/Tag 1/IMG_0001.png": b"pixels of 1",
        "Urlaub/写真.png": b"pixels of 2",
    }
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        rows = {row["path"]: row for row in csv.DictReader(stream)}
    assert rows["Urlaub/broken.jpg"]["reason"] == "not an image"
    assert rows["Urlaub/broken.jpg"]["outcome"] == "rejected"
    assert rows["Urlaub/写真.webp"]["result"] == "Urlaub/写真.png"
    assert (rows["Urlaub/写真.webp"]["width"], rows["Urlaub/写真.webp"]["scale"]) == ("64", "2")
    records = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [record["path"] for record in records] == sorted(rows)


def test_what_is_there_is_not_copied_again(stored, tmp_path):
    stored.finish(1, "a.jpg")
    stored.finish(2, "b.jpg")
    out = tmp_path / "out"
    assert stored.collect(DAY, str(out)).exit_code == 0
    before = (out / "a.png").stat()
    (out / "b.png").write_bytes(b"cut")
    assert stored.collect(DAY, str(out)).exit_code == 0
    assert (out / "a.png").stat() == before
    assert (out / "b.png").read_bytes() == b"pixels of 2"


def test_a_zip_has_the_same_files(stored, tmp_path):
    stored.finish(1, "Süd/a.jpg")
    archive = tmp_path / "out.zip"
    assert stored.collect(f"{DAY}-x2", str(archive)).exit_code == 0
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert sorted(opened.namelist()) == ["Süd/a.png", "results.csv", "results.json"]
        assert opened.read("Süd/a.png") == b"pixels of 1"


def test_results_of_several_scales_get_a_folder_each(stored, tmp_path):
    stored.finish(1, "a.jpg")
    stored.finish(2, "a.jpg", scale=4)
    assert stored.collect(DAY, str(tmp_path / "all")).exit_code == 0
    assert list(files_below(tmp_path / "all")) == ["x2/a.png", "x4/a.png"]
    assert stored.collect(DAY, str(tmp_path / "one"), "--scale", "4").exit_code == 0
    assert files_below(tmp_path / "one") == {"a.png": b"pixels of 2"}


def test_a_result_that_is_gone_is_named_and_the_others_are_there(stored, tmp_path):
    gone = stored.finish(1, "a.jpg")
    stored.finish(2, "b.jpg")
    Path(gone.result.uri).unlink()
    ended = stored.collect(DAY, str(tmp_path / "out"))
    assert ended.exit_code == 3
    assert "superres: a.png: " in ended.stderr
    assert list(files_below(tmp_path / "out")) == ["b.png"]


def test_a_day_without_results_is_one_line(stored, tmp_path):
    ended = stored.collect("2026-02-01", str(tmp_path / "out"))
    assert isinstance(ended.exception, Exception)
    assert "no results of 2026-02-01 there" in str(ended.exception)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("which", ["2026-02-30", "yesterday"])
def test_what_is_no_day_and_no_run_is_one_line(stored, tmp_path, which):
    ended = stored.collect(which, str(tmp_path / "out"))
    assert which in str(ended.exception)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.jpg", "b/a.jpg"], ["a.png", "b/a.png"]),
        (["a.jpg", "a.png", "c.jpg"], ["a.jpg.png", "a.png.png", "c.png"]),
        (["a.jpg", "A.JPG"], ["a.jpg-{0:.8}.png", "A.JPG-{1:.8}.png"]),
        (["a.jpg", "a.jpg"], ["a.jpg-{0:.8}.png", "a.jpg-{1:.8}.png"]),
        (["e\u0301.jpg", "\u00e9.png"], ["e\u0301.jpg.png", "\u00e9.png.png"]),
        (["a.jpg", "a.png", "a.jpg.tif"], ["a.jpg-{0:.8}.png", "a.png.png", "a.jpg.png"]),
        ([None], ["boat.png"]),
    ],
)
def test_no_two_results_get_the_same_name(paths: list[str | None], names: list[str]) -> None:
    records = [
        finished(number, path).model_copy(
            update={"image_id": f"{number}" * 32, "source": "folder:boat.jpg"}
        )
        for number, path in enumerate(paths)
    ]
    ids = [record.image_id for record in records]
    expected = dict(zip(ids, (name.format(*ids) for name in names), strict=True))
    assert result_names(records) == expected


def test_a_name_that_is_too_long_with_its_new_suffix_is_shortened() -> None:
    record = finished(1, f"folder/{'ü' * 125}.jpeg")
    (name,) = result_names([record]).values()
    assert name.startswith("folder/ü")
    assert len(name.removeprefix("folder/").encode()) <= 255


def test_a_cell_is_no_formula(stored, tmp_path):
    stored.finish(1, "=HYPERLINK(1).jpg")
    assert stored.collect(DAY, str(tmp_path / "out")).exit_code == 0
    with (tmp_path / "out" / "results.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert row["path"] == "'=HYPERLINK(1).jpg"

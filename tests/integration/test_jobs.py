"""The jobs in a local Spark session: same pixels as the command line, safe to run again."""

import importlib
import io
import json
import sys
import zipimport
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from jobs import batch_inference, mass_split
from jobs.attempts import new_attempt, newest_attempt, write_attempt
from jobs.batch_inference import run_inference
from jobs.evaluate import evaluate_and_record
from jobs.fused import run_fused
from jobs.job import Job
from jobs.mass_reconstruct import run_reconstruct
from jobs.mass_split import run_split
from jobs.runner import run_jobs
from jobs.selection import rejections
from jobs.stages import reject
from superres.errors import IncompleteImageError, StorageError
from superres.imaging.colour import Planes
from superres.pipeline import storage
from superres.pipeline.layout import Layout
from superres.pipeline.records import Evaluation, RejectedImage, RunManifest
from tests.conftest import RunSetup, make_run_setup
from tests.support.job_images import (
    import_folder,
    one_job,
    read_planes,
    textured_planes,
    upscaled,
    write_png,
)

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def bitmap(planes: Planes) -> bytes:
    """A BMP, whose size is that of its samples."""
    stream = io.BytesIO()
    Image.fromarray(np.moveaxis(planes, 0, -1)).save(stream, "BMP")
    return stream.getvalue()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Photographs of every kind and of several sizes, in tiles of 32: from one to many."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    write_png(folder / "colour.png", textured_planes(150, 211, seed=1))
    write_png(folder / "grey.png", textured_planes(90, 64, channels=1, seed=2))
    write_png(folder / "alpha.png", textured_planes(70, 131, channels=4, seed=3))
    write_png(folder / "deep.png", textured_planes(81, 77, bits=16, seed=4))
    write_png(folder / "line.png", textured_planes(2, 120, seed=5))
    return folder


@pytest.mark.parametrize(
    ("scale", "fused", "grayscale"), [(2, False, False), (3, True, False), (4, False, True)]
)
def test_pixels_equal_the_command_line(
    spark: "SparkSession", inbox: Path, tmp_path: Path, scale: int, fused: bool, grayscale: bool
) -> None:
    run_setup = make_run_setup(str(tmp_path / "data"), scale, grayscale=grayscale)
    ids = import_folder(inbox, run_setup)
    manifest = run_jobs(spark, run_setup.settings, run_setup.layout, fused=fused)
    expected = {name for name in ids if not (name == "line.png" and scale > 2)}
    assert manifest.counts["evaluate_images"] == len(expected)
    for name in expected:
        low = storage.join(run_setup.layout.low_resolution, f"{ids[name]}.png")
        result = read_planes(run_setup.layout.result(ids[name]))
        assert result.dtype == read_planes(low).dtype
        assert np.array_equal(result, upscaled(low, run_setup.settings)), name


def test_records_contain_the_measurements(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    ids = import_folder(inbox, run_setup)
    run_jobs(spark, run_setup.settings, run_setup.layout)
    content = storage.read_bytes(run_setup.layout.evaluation(ids["colour.png"]))
    record = Evaluation.model_validate_json(content)
    assert (record.mode, record.scale, record.source) == ("evaluate", 2, "folder:colour.png")
    assert (record.low_resolution.width, record.low_resolution.height) == (105, 75)
    assert (record.result.width, record.result.height) == (210, 150)
    assert record.original is not None
    assert (record.original.width, record.original.height) == (211, 150)
    assert record.ours is not None
    assert record.bicubic is not None
    truth = np.asarray(Image.open(inbox / "colour.png"), np.float64)[:150, :210]
    ours = np.asarray(Image.open(record.result.uri), np.float64)
    luma = np.array([65.481, 128.553, 24.966]) / 255
    error = (ours @ luma - truth @ luma)[2:-2, 2:-2]
    psnr = 10 * np.log10(255**2 / np.mean(error**2))
    assert record.ours.psnr == pytest.approx(psnr, abs=1e-3)
    assert 0 < record.ours.ssim <= 1
    assert record.seconds > 0
    manifest = RunManifest.model_validate_json(storage.read_bytes(run_setup.layout.manifest))
    assert manifest.counts["evaluate_images"] == len(ids)


def test_without_an_original_there_are_no_metrics(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    ids = import_folder(inbox, run_setup, mode="upscale")
    run_jobs(spark, run_setup.settings, run_setup.layout, fused=True)
    content = json.loads(storage.read_bytes(run_setup.layout.evaluation(ids["grey.png"])))
    assert content["mode"] == "upscale"
    assert content["ours"] is content["bicubic"] is content["original"] is None
    assert content["result"]["width"] == 2 * 64


def spoil(ids: dict[str, str], run_setup: RunSetup) -> set[str]:
    """Makes three of the stored images bad: half, something else, and empty."""
    low = {name: Path(run_setup.layout.low_resolution) / f"{ids[name]}.png" for name in ids}
    whole = low["colour.png"].read_bytes()
    low["colour.png"].write_bytes(whole[: len(whole) // 2])
    low["alpha.png"].write_bytes(b"<html>not found</html>")
    low["line.png"].write_bytes(b"")
    return {ids[name] for name in ("colour.png", "alpha.png", "line.png")}


@pytest.mark.parametrize("fused", [False, True])
def test_bad_images_are_rejected_and_the_rest_is_finished(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup, fused: bool
) -> None:
    ids = import_folder(inbox, run_setup, mode="upscale")
    bad = spoil(ids, run_setup)
    elsewhere = replace(run_setup.layout, run_id="2026-01-31-x2-other")
    reject("f" * 32, "test", "evaluate", "of another run", elsewhere)
    manifest = run_jobs(spark, run_setup.settings, run_setup.layout, fused=fused)
    assert set(manifest.rejected) == bad
    assert manifest.counts["evaluate_images"] == len(ids) - len(bad)
    for image_id in bad:
        content = storage.read_bytes(run_setup.layout.rejection(image_id))
        record = RejectedImage.model_validate_json(content)
        assert record.stage == "split"
        assert record.reason
        assert "\n" not in record.reason
        assert not storage.exists(run_setup.layout.result(image_id))


@pytest.mark.parametrize("job", [run_split, run_fused])
def test_a_job_counts_finished_and_rejected_images(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup, job: Job
) -> None:
    ids = import_folder(inbox, run_setup, mode="upscale")
    spoil(ids, run_setup)
    # grey: 64 x 90, deep: 77 x 81, in tiles of 32
    expected = {"images": 2, "rejected": 3, "patches": 2 * 3 + 3 * 3}
    assert one_job(spark, run_setup, job).counts == expected
    assert one_job(spark, run_setup, run_split).counts["rejected"] == 0  # they are no more pending


def test_inference_writes_parts_of_the_configured_size(
    spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_setup = make_run_setup(str(tmp_path / "data"))
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for seed in range(24):
        (inbox / f"{seed}.bmp").write_bytes(bitmap(textured_planes(64, 64, seed=seed)))
    import_folder(inbox, run_setup, mode="upscale")
    monkeypatch.setattr(mass_split, "PART_BYTES", 2 * 4 * 12_400)  # two images, upscaled
    one_job(spark, run_setup, run_split)
    table = one_job(spark, run_setup, run_inference).table
    assert table is not None
    parts = spark.read.parquet(table).selectExpr("image_id", "input_file_name() AS part")
    images = [row["count"] for row in parts.distinct().groupBy("part").count().collect()]
    assert images == [2] * 12


def test_running_again_does_nothing_twice(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    ids = import_folder(inbox, run_setup)
    run_jobs(spark, run_setup.settings, run_setup.layout)
    record = Path(run_setup.layout.evaluation(ids["grey.png"]))
    written = record.stat().st_mtime_ns
    Path(run_setup.layout.evaluation(ids["colour.png"])).unlink()  # as if a run had died before it
    manifest = run_jobs(spark, run_setup.settings, run_setup.layout)
    assert manifest.counts["split_images"] == 1
    assert record.stat().st_mtime_ns == written
    assert run_jobs(spark, run_setup.settings, run_setup.layout).counts["evaluate_images"] == 0
    assert (
        run_jobs(spark, run_setup.settings, run_setup.layout, redo=True).counts["split_images"] == 5
    )


def test_a_rejected_image_that_was_repaired_is_redone(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    ids = import_folder(inbox, run_setup, mode="upscale")
    low = Path(run_setup.layout.low_resolution) / f"{ids['grey.png']}.png"
    good = low.read_bytes()
    low.write_bytes(good[:50])
    first = run_jobs(spark, run_setup.settings, run_setup.layout, fused=True)
    assert first.rejected == [ids["grey.png"]]
    low.write_bytes(good)
    second = run_jobs(spark, run_setup.settings, run_setup.layout, fused=True, redo=True)
    assert second.rejected == []
    assert storage.exists(run_setup.layout.evaluation(ids["grey.png"]))


def test_a_folder_with_brackets_in_its_name(
    spark: "SparkSession", inbox: Path, tmp_path: Path
) -> None:
    run_setup = make_run_setup(str(tmp_path / "holiday [1] {a}*"))
    import_folder(inbox, run_setup, mode="upscale")
    assert run_jobs(spark, run_setup.settings, run_setup.layout).counts["evaluate_images"] == 5


def test_a_plain_run_beside_a_redo_takes_nothing_from_it(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    ids = import_folder(inbox, run_setup, mode="upscale")
    run_jobs(spark, run_setup.settings, run_setup.layout, fused=True)
    redone = one_job(spark, run_setup, run_split, redo=True).counts
    one_job(spark, run_setup, run_split)  # the plain run's table is newer
    assert one_job(spark, run_setup, run_inference).counts["patches"] == redone["patches"] > 0
    assert one_job(spark, run_setup, run_reconstruct).counts["images"] == len(ids)


def test_the_newest_table_is_that_of_the_images_listed_last(run_setup: RunSetup) -> None:
    first, second = (new_attempt(run_setup.layout.patches, "a") for _ in range(2))
    newer = new_attempt(run_setup.layout.inference, "a", second)
    older = new_attempt(run_setup.layout.inference, "a", first)  # though it is written later
    for table in (newer, older):
        storage.write_bytes(storage.join(table, "_SUCCESS"), b"")
    assert newest_attempt(run_setup.layout.inference, "any") == newer
    again = new_attempt(run_setup.layout.inference, "a", second)
    storage.write_bytes(storage.join(again, "_SUCCESS"), b"")
    assert newest_attempt(run_setup.layout.inference, "any") == again


def test_evaluate_alone_writes_the_manifest(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    ids = import_folder(inbox, run_setup, mode="upscale")
    bad = spoil(ids, run_setup)
    one_job(spark, run_setup, run_fused)
    one_job(spark, run_setup, evaluate_and_record)
    manifest = RunManifest.from_json(storage.read_bytes(run_setup.layout.manifest))
    assert manifest.run_id == run_setup.layout.run_id
    assert manifest.counts == {"evaluate_images": 2, "evaluate_rejected": 0}
    assert set(manifest.rejected) == bad
    assert manifest.seconds["evaluate"] > 0


def test_starting_again_resumes_the_run_and_writes_a_manifest_of_its_own(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    layout = run_setup.layout
    first = layout.started(datetime(2026, 2, 1, 2, tzinfo=UTC))
    ids = import_folder(inbox, run_setup, mode="upscale")
    bad = spoil(ids, run_setup)
    before = run_jobs(spark, run_setup.settings, first, fused=True)
    assert before.start_id == f"{layout.run_id}-20260201T020000Z"
    assert set(before.rejected) == bad
    write_png(inbox / "later.png", textured_planes(40, 50, seed=9))
    later = import_folder(inbox, run_setup, mode="upscale")["later.png"]
    again = layout.started(datetime(2026, 2, 1, 3, tzinfo=UTC))
    after = run_jobs(spark, run_setup.settings, again, fused=True)
    assert after.counts["evaluate_images"] == 1
    assert set(after.rejected) == bad  # of the run, whichever start rejected them
    # Both manifests are there, and each image names the start that finished it.
    for layout_of_start, manifest in ((first, before), (again, after)):
        content = storage.read_bytes(layout_of_start.manifest)
        assert RunManifest.from_json(content) == manifest
    starts = {
        file.stem: Evaluation.from_json(storage.read_bytes(file.uri)).start_id
        for file in storage.list_files(layout.evaluations)
    }
    assert starts.pop(later) == again.start_id
    assert set(starts.values()) == {first.start_id}
    (rejected,) = {record.start_id for record in rejections(layout)}
    assert rejected == first.start_id


def evaluations_of(layout: Layout) -> dict[str, Evaluation]:
    files = storage.list_files(layout.evaluations, nested=False)
    return {file.stem: Evaluation.from_json(storage.read_bytes(file.uri)) for file in files}


@pytest.mark.parametrize("fused", [False, True])
def test_two_recipes_of_the_same_images_lie_side_by_side(
    spark: "SparkSession", inbox: Path, tmp_path: Path, fused: bool
) -> None:
    colour = make_run_setup(str(tmp_path / "data"))
    grey = make_run_setup(str(tmp_path / "data"), grayscale=True)
    setups, ids = (colour, grey), import_folder(inbox, colour)

    def run_all() -> list[RunManifest]:
        return [run_jobs(spark, each.settings, each.layout, fused=fused) for each in setups]

    manifests = run_all()
    assert [manifest.counts["evaluate_images"] for manifest in manifests] == [5, 5]
    for setup, manifest in zip(setups, manifests, strict=True):
        written = storage.read_bytes(setup.layout.manifest)
        assert RunManifest.from_json(written) == manifest
        records = evaluations_of(setup.layout)
        assert records.keys() == set(ids.values())
        digests = {record.model_digest for record in records.values()}
        assert manifest.models == dict.fromkeys(digests, "fsrcnn_x2.safetensors")
        for image_id, record in records.items():
            assert record.result.uri == setup.layout.result(image_id)
            expected = upscaled(record.low_resolution.uri, setup.settings)
            assert np.array_equal(read_planes(record.result.uri), expected)
            assert record.model_name == "fsrcnn_x2.safetensors"
            assert record.recipe == manifest.recipe
    assert manifests[0].recipe is None
    assert manifests[1].recipe is not None
    assert manifests[1].recipe.members == {"grayscale": True}
    # Neither takes what the other has finished for its own, or does anything twice.
    assert [manifest.counts["evaluate_images"] for manifest in run_all()] == [0, 0]
    before = evaluations_of(colour.layout)
    again = run_jobs(spark, grey.settings, grey.layout, fused=fused, redo=True)
    assert again.counts["evaluate_images"] == 5
    assert evaluations_of(colour.layout) == before
    after = run_jobs(spark, colour.settings, colour.layout, fused=fused, redo=True)
    assert after.counts["evaluate_images"] == 5
    assert evaluations_of(grey.layout).keys() == set(ids.values())


def test_an_image_rejected_with_one_recipe_is_pending_for_another(
    spark: "SparkSession", inbox: Path, tmp_path: Path
) -> None:
    colour = make_run_setup(str(tmp_path / "data"))
    grey = make_run_setup(str(tmp_path / "data"), grayscale=True)
    ids = import_folder(inbox, colour, mode="upscale")
    low = Path(colour.layout.low_resolution) / f"{ids['grey.png']}.png"
    good = low.read_bytes()
    low.write_bytes(good[:50])
    assert run_jobs(spark, grey.settings, grey.layout, fused=True).rejected == [ids["grey.png"]]
    (record,) = rejections(grey.layout)
    assert record.recipe is not None
    assert record.recipe.key == grey.layout.recipe.key
    assert rejections(colour.layout) == []
    low.write_bytes(good)
    assert run_jobs(spark, colour.settings, colour.layout, fused=True).rejected == []
    assert rejections(grey.layout) == [record]


def test_a_crashed_attempt_is_never_read(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    import_folder(inbox, run_setup)
    with pytest.raises(StorageError, match=r"run mass_split\.py"):
        one_job(spark, run_setup, run_inference)
    table = one_job(spark, run_setup, run_split).table
    assert table is not None
    later = Path(run_setup.layout.patches) / "attempt=99990101T000000000000-crashed"
    later.mkdir()
    (later / "part-00000.parquet").write_bytes(b"half a file")
    assert newest_attempt(run_setup.layout.patches, "mass_split.py") == table
    assert one_job(spark, run_setup, run_inference).counts["patches"] > 0


def test_an_incomplete_image_is_refused(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    import_folder(inbox, run_setup)
    one_job(spark, run_setup, run_split)
    table = one_job(spark, run_setup, run_inference).table
    assert table is not None
    tiles = spark.read.parquet(table)
    incomplete = new_attempt(run_setup.layout.inference, "a", table)
    write_attempt(tiles.where("not (`row` = 1 and `column` = 1)"), incomplete)
    with pytest.raises(Exception, match=IncompleteImageError.__name__):
        one_job(spark, run_setup, run_reconstruct)
    storage.delete_tree(incomplete)
    assert one_job(spark, run_setup, run_reconstruct).counts["images"] == 5


def test_an_image_upscaled_by_several_tasks_is_reconstructed(
    spark: "SparkSession", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_setup = make_run_setup(str(tmp_path / "data"), patch_size=64)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_png(inbox / "large.png", textured_planes(900, 700, seed=6))
    write_png(inbox / "small.png", textured_planes(60, 50, seed=7))
    ids = import_folder(inbox, run_setup, mode="upscale")
    # Row groups of a few tiles stand for the 64 MiB of an image of a hundred megapixels.
    monkeypatch.setitem(
        __import__("jobs.attempts").attempts._PARQUET, "parquet.block.size", "65536"
    )
    monkeypatch.setattr(batch_inference, "SPLIT_AT", 200_000)
    monkeypatch.setattr(mass_split, "PART_BYTES", 1 << 30)
    manifest = run_jobs(spark, run_setup.settings, run_setup.layout)
    assert manifest.counts["reconstruct_scattered_images"] >= 1
    for name, image_id in ids.items():
        expected = upscaled(str(inbox / name), run_setup.settings)
        assert np.array_equal(read_planes(run_setup.layout.result(image_id)), expected), name


def test_a_grey_original_of_a_colour_input_is_rejected_not_fatal(
    spark: "SparkSession", inbox: Path, run_setup: RunSetup
) -> None:
    ids = import_folder(inbox, run_setup)
    original = Path(run_setup.layout.high_resolution) / f"{ids['colour.png']}.png"
    write_png(original, textured_planes(150, 211, channels=1))
    manifest = run_jobs(spark, run_setup.settings, run_setup.layout)
    assert manifest.rejected == [ids["colour.png"]]


def test_no_task_reads_the_archives_in_its_path_again(spark):
    def read_by_a_task(_):
        def counted(archive):
            read.append(archive)
            return real(archive)

        read: list[str] = []
        archives: Any = zipimport
        real, archives._read_directory = archives._read_directory, counted
        importlib.invalidate_caches()  # as PySpark does before each task
        archives._read_directory = real
        importers = sys.path_importer_cache.values()
        yield read, any(isinstance(each, zipimport.zipimporter) for each in importers)

    read_again = spark.sparkContext.parallelize([0], 1).mapPartitions(read_by_a_task).collect()
    assert read_again == [([], True)]

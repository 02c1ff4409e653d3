"""Which images a run processes, and how they are dealt out to tasks."""

import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.evaluate_image import image_locations
from jobs.job import print_left_out
from jobs.selection import (
    Selection,
    SourceImage,
    deal,
    forget_finished,
    pending_images,
    rejections,
    stored_images,
)
from superres.errors import ConfigError, RecordError
from superres.pipeline import storage
from superres.pipeline.arrival import reference_of, store_image
from superres.pipeline.layout import layout_of
from superres.pipeline.recipe import DEFAULT_RECIPE, Recipe
from superres.pipeline.records import RejectedImage, Stage
from tests.conftest import RunSetup
from tests.support.image_files import photo, pillow
from tests.support.references import image_reference

IDS = ["a" * 32, "b" * 32, "c" * 32]
GREY = Recipe(grayscale=True)


def _store_inputs(run_setup: RunSetup) -> None:
    for image_id in IDS:
        storage.write_bytes(
            storage.join(run_setup.layout.low_resolution, f"{image_id}.png"), b"..."
        )
        storage.write_bytes(
            storage.join(run_setup.layout.low_resolution, f"{image_id}.json"), b"{}"
        )


def _reject(run_setup: RunSetup, image_id: str, stage: Stage) -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    record = RejectedImage(
        image_id=image_id, source="test", stage=stage, reason="bad", rejected_at=moment
    )
    storage.write_bytes(run_setup.layout.rejection(image_id), record.to_json().encode())


def _pending(run_setup: RunSetup) -> list[str]:
    return [image.image_id for image in pending_images(run_setup.layout).images]


def test_finished_and_rejected_images_are_left_out(run_setup: RunSetup) -> None:
    _store_inputs(run_setup)
    storage.write_bytes(run_setup.layout.evaluation(IDS[0]), b"{}")
    _reject(run_setup, IDS[1], "split")
    assert _pending(run_setup) == [IDS[2]]


def test_what_another_recipe_finished_or_rejected_is_pending(run_setup: RunSetup) -> None:
    _store_inputs(run_setup)
    other = replace(run_setup, layout=run_setup.layout.with_recipe(GREY))
    for mine, theirs in ((run_setup, other), (other, run_setup)):
        storage.write_bytes(theirs.layout.evaluation(IDS[0]), b"{}")
        _reject(theirs, IDS[1], "split")
        assert _pending(theirs) == [IDS[2]]
        assert _pending(mine) == IDS
        forget_finished(mine.layout)
        assert _pending(theirs) == [IDS[2]]
        forget_finished(theirs.layout)
        assert _pending(theirs) == IDS


def test_only_a_run_of_its_own_recipe_takes_an_image(run_setup: RunSetup) -> None:
    plain = run_setup.layout
    wanted = {IDS[0]: None, IDS[1]: GREY, IDS[2]: DEFAULT_RECIPE}
    for image_id, recipe in wanted.items():
        reference = image_reference(image_id=image_id, recipe=recipe)
        settings = run_setup.settings.processing
        store_image(pillow(photo(40, 48), "PNG"), reference, plain, settings)
    for layout, taken in (
        (plain, {IDS[0], IDS[2]}),
        (plain.with_recipe(GREY), {IDS[0], IDS[1]}),
        (plain.with_recipe(Recipe(precision="float16")), {IDS[0]}),
    ):
        pending = pending_images(layout)
        assert {image.image_id for image in pending.images} == taken
        left = {Path(file.uri).stem: file.reason for file in pending.left_out}
        assert left.keys() == set(IDS) - taken
        assert reference_of(pending.images[0].uri) == image_reference(image_id=IDS[0])
    assert left[IDS[1]].startswith(f"it asks for the recipe {GREY.key}, and this run has the")
    assert left[IDS[2]].startswith("it asks for the default recipe, and this run has the recipe ")


def test_a_rejected_message_does_not_hide_an_image_that_is_stored(run_setup: RunSetup) -> None:
    _store_inputs(run_setup)
    storage.write_bytes(run_setup.layout.evaluation(IDS[0]), b"{}")
    for image_id in IDS[:2]:
        _reject(run_setup, image_id, "ingest")
    assert _pending(run_setup) == IDS[1:]


def test_a_rejection_that_cannot_be_read_is_named(run_setup: RunSetup) -> None:
    _store_inputs(run_setup)
    storage.write_bytes(run_setup.layout.rejection(IDS[0]), b"{}")
    with pytest.raises(RecordError, match=IDS[0]):
        pending_images(run_setup.layout)


def test_forgotten_images_are_pending_again(run_setup: RunSetup) -> None:
    _store_inputs(run_setup)
    storage.write_bytes(run_setup.layout.evaluation(IDS[0]), b"{}")
    _reject(run_setup, IDS[1], "evaluate")
    never_stored = "d" * 32
    _reject(run_setup, never_stored, "ingest")
    forget_finished(run_setup.layout)
    assert _pending(run_setup) == IDS
    assert [record.image_id for record in rejections(run_setup.layout)] == [never_stored]


def test_a_result_without_its_evaluation_is_pending(run_setup: RunSetup) -> None:
    _store_inputs(run_setup)
    storage.write_bytes(run_setup.layout.result(IDS[0]), b"PNG")
    assert IDS[0] in [image.image_id for image in pending_images(run_setup.layout).images]


def test_empty_storage_gives_an_empty_selection(run_setup: RunSetup) -> None:
    assert pending_images(run_setup.layout) == Selection([], [])
    assert deal([], 2, 1000) == []


@given(
    sizes=st.lists(st.integers(0, 10_000), min_size=1, max_size=60),
    tasks=st.integers(1, 8),
    bytes_per_task=st.integers(1, 100_000),
)
def test_dealing_keeps_every_image_once_and_leaves_no_task_idle(
    sizes: list[int], tasks: int, bytes_per_task: int
) -> None:
    images = [SourceImage(str(index), f"{index}.bmp", size) for index, size in enumerate(sizes)]
    groups = deal(images, tasks, bytes_per_task)
    assert sorted(image.image_id for group in groups for image in group) == sorted(
        image.image_id for image in images
    )
    assert all(groups)
    assert len(groups) % tasks == 0 or len(groups) == len(images)
    loads = sorted(sum(image.size for image in group) for group in groups)
    assert loads[-1] <= loads[0] + max(sizes)


def test_a_file_with_a_foreign_name_is_left_out_with_the_reason(
    run_setup: RunSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    _store_inputs(run_setup)
    storage.write_bytes(storage.join(run_setup.layout.low_resolution, "Thumbs.db"), b"...")
    pending = pending_images(run_setup.layout)
    assert [image.image_id for image in pending.images] == IDS
    (file,) = pending.left_out
    assert "Thumbs.db: left out: not named by an image_id" in str(file)
    assert capsys.readouterr().err == ""


def test_a_file_that_is_left_out_is_printed_once(
    run_setup: RunSetup, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write_bytes(storage.join(run_setup.layout.low_resolution, "Thumbs.db"), b"...")
    for _ in range(2):
        print_left_out(stored_images(run_setup.layout).left_out)
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert "Thumbs.db: left out: not named by an image_id" in line
    assert printed.out == ""


@pytest.mark.parametrize("last", ["PNG", "JPEG"])
def test_of_an_image_stored_in_two_formats_the_newer_counts(run_setup: RunSetup, last: str) -> None:
    layout = run_setup.layout
    suffixes = {"PNG": "png", "JPEG": "jpg"}
    for reference in (
        image_reference("upscale", image_id=IDS[0]),
        image_reference("evaluate", image_id=IDS[1]),
    ):
        for kind in suffixes:
            store_image(
                pillow(photo(40, 48), kind), reference, layout, run_setup.settings.processing
            )
    files = [
        *storage.list_files(layout.low_resolution),
        *storage.list_files(layout.high_resolution),
    ]
    for file in files:
        moment = 2_000_000_000 if file.name.endswith(suffixes[last]) else 1_000_000_000
        os.utime(file.uri, (moment, moment))
    ours = f"{IDS[0]}.{suffixes[last]}"
    pending = pending_images(layout)
    uris = {image.image_id: image.uri for image in pending.images}
    assert uris.keys() == set(IDS[:2])
    assert uris[IDS[0]].endswith(ours)
    locations = image_locations(pending.images, layout)
    assert locations.low_resolution == uris
    assert locations.originals[IDS[1]].endswith(f"{IDS[1]}.{suffixes[last]}")
    (older,) = pending.left_out
    assert f"{ours} is newer" in str(older)


def test_a_start_changes_the_place_of_the_manifest_alone(run_setup: RunSetup) -> None:
    layout = run_setup.layout
    moment = datetime(2026, 2, 1, 3, 0, 59, tzinfo=timezone(timedelta(hours=1)))
    started = layout.started(moment)
    assert started.start_id == f"{layout.run_id}-20260201T020059Z"
    assert started.manifest.endswith(f"/runs/{started.start_id}.json")
    assert layout.manifest.endswith(f"/runs/{layout.run_id}.json")
    for name in ("low_resolution", "patches", "inference", "evaluations", "rejections"):
        assert getattr(started, name) == getattr(layout, name)
    named = layout_of(run_setup.settings.dataset, layout.run_id, start_id=started.start_id)
    assert named == started


@pytest.mark.parametrize(
    "start_id",
    ["today", "2026-01-31-x2", "2026-01-31-x3-20260201T020059Z", "2026-01-31-x2-2026-02-01"],
)
def test_a_start_of_another_run_is_refused(run_setup: RunSetup, start_id: str) -> None:
    with pytest.raises(ConfigError, match=r"--start-id .*as in 2026-01-31-x2-2026"):
        layout_of(run_setup.settings.dataset, "2026-01-31-x2", start_id=start_id)


@pytest.mark.parametrize(("scale", "day"), [(3, None), (None, date(2026, 2, 1))])
def test_a_run_id_that_contradicts_its_options_is_refused(
    run_setup: RunSetup, scale: int | None, day: date | None
) -> None:
    with pytest.raises(ConfigError, match="contradict"):
        layout_of(run_setup.settings.dataset, "2026-01-31-x2", scale, day)

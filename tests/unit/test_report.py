"""The table that a run ends with."""

import io
from datetime import UTC, date, datetime

from rich.console import Console

from jobs.report import outcome_of, print_table
from jobs.stages import reject
from superres.pipeline import storage
from superres.pipeline.arrival import reject_arrival
from superres.pipeline.recipe import Recipe
from superres.pipeline.records import (
    Evaluation,
    Metrics,
    RejectedImage,
    StoredImage,
    applied_recipe,
)
from tests.conftest import RunSetup

STORED = StoredImage(uri="a.png", width=4, height=4)


def evaluated(
    name: str, ours: float | None, bicubic: float | None, *, measured: bool = True
) -> Evaluation:
    return Evaluation(
        image_id="a" * 32,
        run_id="2026-01-31-x2",
        mode="evaluate",
        scale=2,
        ingest_date=date(2026, 1, 31),
        source=f"folder:{name}",
        low_resolution=STORED,
        result=STORED,
        ours=Metrics(psnr=ours, ssim=0.9) if measured else None,
        bicubic=Metrics(psnr=bicubic, ssim=0.8) if measured else None,
        seconds=1,
        model_digest="digest",
        finished_at=datetime(2026, 1, 31, tzinfo=UTC),
    )


def last_row(*records: Evaluation) -> list[str]:
    stream = io.StringIO()
    print_table(Console(file=stream, width=100), records)
    return stream.getvalue().strip().splitlines()[-1].split()


def test_the_mean_is_over_the_same_images_for_both() -> None:
    some = [evaluated("a.png", 30, 28), evaluated("b.png", 34, 30)]
    assert last_row(*some) == ["mean", "32.00", "29.00", "+3.00", "0.9000", "0.8000"]
    # Had each its own images, bicubic would be 36.
    equal = evaluated("equal.png", None, 50)
    unmeasured = evaluated("small.png", None, None, measured=False)
    row = ["mean", "of", "2", "32.00", "29.00", "+3.00", "0.9000", "0.8000"]
    assert last_row(*some, equal, unmeasured) == row


def test_the_outcome_of_an_image_is_that_of_the_recipe(run_setup: RunSetup) -> None:
    layout, image_id = run_setup.layout.with_recipe(Recipe(grayscale=True)), "a" * 32
    # Ingestion rejects for every recipe.
    reject_arrival(image_id, "test", "no image", layout)
    for each in (layout, run_setup.layout):
        outcome = outcome_of(image_id, each)
        assert isinstance(outcome, RejectedImage)
        assert outcome.stage == "ingest"
    finished = evaluated("a.png", 30, 28).to_json().encode()
    storage.write_bytes(run_setup.layout.evaluation(image_id), finished)
    assert isinstance(outcome_of(image_id, run_setup.layout), Evaluation)
    assert isinstance(outcome_of(image_id, layout), RejectedImage)
    reject(image_id, "test", "split", "damaged", layout)
    outcome = outcome_of(image_id, layout)
    assert isinstance(outcome, RejectedImage)
    assert outcome.stage == "split"
    assert outcome.recipe == applied_recipe(layout.recipe)


def test_without_figures_there_is_no_mean() -> None:
    assert last_row(evaluated("equal.png", None, 50)) == ["mean", *"–––––"]


def test_images_that_were_not_measured_have_no_columns_for_it() -> None:
    stream = io.StringIO()
    unmeasured = [evaluated(f"{name}.png", None, None, measured=False) for name in "ab"]
    print_table(Console(file=stream, width=100), unmeasured)
    assert "–" not in stream.getvalue()
    assert "PSNR" not in stream.getvalue()
    assert [line.split() for line in stream.getvalue().splitlines()[3:5]] == [
        ["a.png", "4×4"],
        ["b.png", "4×4"],
    ]

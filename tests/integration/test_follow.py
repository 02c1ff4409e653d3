"""`superres run --follow`: new images are upscaled in one session."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from jobs.follow import follow_images
from superres.imaging.info import ImageInfo
from superres.imaging.png import encode_png
from superres.pipeline import storage
from superres.pipeline.arrival import reference_to_file, store_image
from superres.pipeline.layout import default_run_id, layout_of
from superres.pipeline.records import Evaluation
from tests.conftest import RunSetup

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark
TODAY = datetime(2026, 1, 31, 0, 5, tzinfo=UTC)


def arrive(run_setup: RunSetup, folder: Path, name: str, day: datetime, scale: int) -> str:
    """Stores an image as the consumer does; returns the URI of its evaluation."""
    file = folder / name
    encode_png([np.full((3, 20, 30), 90, np.uint8)], ImageInfo(30, 20, 3, 8), file)
    layout = layout_of(
        run_setup.settings.dataset, default_run_id(day.date(), scale), scale, day.date()
    )
    reference = reference_to_file(file, "upscale", scale, day)
    store_image(file, reference, layout, run_setup.settings.processing)
    return layout.evaluation(reference.image_id)


def test_new_images_and_those_of_yesterday_are_upscaled(
    spark: "SparkSession", run_setup: RunSetup, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [arrive(run_setup, tmp_path, "before-midnight.png", TODAY - timedelta(hours=1), 3)]
    stray = storage.join(run_setup.settings.dataset.low_resolution_dir, "scale=3")
    storage.write_bytes(storage.join(stray, "ingest_date=2026-01-30", "Thumbs.db"), b"...")
    broken = Path(run_setup.settings.dataset.low_resolution_dir) / "scale=2"
    broken.write_text("a file where a folder should be")
    waits, late = 0, list[str]()

    def wait(_: float) -> None:
        """Called when nothing is pending: stores another image, then ends the loop."""
        nonlocal waits
        waits += 1
        assert all(storage.exists(uri) for uri in expected + late)
        if waits < 3:
            return
        if broken.is_file():
            broken.unlink()
        if late:
            raise KeyboardInterrupt
        late.append(arrive(run_setup, tmp_path, "later.png", TODAY, 2))

    with pytest.raises(KeyboardInterrupt):
        follow_images(spark, run_setup.settings, [2, 3], now=lambda: TODAY, wait=wait)
    records = [Evaluation.from_json(storage.read_bytes(uri)) for uri in expected + late]
    assert [record.ingest_date for record in records] == [date(2026, 1, 30), date(2026, 1, 31)]
    assert [record.result.width for record in records] == [90, 60]
    output = capsys.readouterr()
    assert output.err.count("Thumbs.db") == 1
    assert output.err.count("ingest_date=2026-01-31: cannot list") == 1
    printed = output.out.splitlines()
    assert [line.split("  ")[0] for line in printed] == ["before-midnight.png", "later.png"]
    assert all(record.result.uri in line for record, line in zip(records, printed, strict=True))

"""A table that has changed in storage ends the job that reads it, with a line naming the file."""

from pathlib import Path

import pytest

from jobs.batch_inference import run_inference
from jobs.evaluate import run_evaluate
from jobs.job import Job
from jobs.mass_reconstruct import run_reconstruct
from jobs.mass_split import run_split
from jobs.runner import run_jobs
from jobs.session import one_line_reason
from tests.conftest import RunSetup
from tests.support.job_images import import_folder, one_job, textured_planes, write_png

pytestmark = pytest.mark.spark


def zero_rows(table: str) -> Path:
    """Makes 64 bytes within the rows of the table's largest part zeros."""
    part = max(Path(table).glob("*.parquet"), key=lambda path: path.stat().st_size)
    content = bytearray(part.read_bytes())
    # The file ends with its footer, four bytes with the footer's length, and "PAR1".
    rows = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    content[rows // 4 : rows // 4 + 64] = bytes(64)  # indices follow the rows
    part.write_bytes(content)
    return part


@pytest.mark.parametrize(
    ("jobs", "reader"),
    [
        ([run_split], run_inference),
        ([run_split, run_inference], run_reconstruct),
        ([run_split, run_inference, run_reconstruct], run_evaluate),
    ],
)
def test_zeroed_bytes_end_the_job_that_reads_them(
    spark, run_setup: RunSetup, tmp_path: Path, jobs: list[Job], reader: Job
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_png(inbox / "one.png", textured_planes(100, 100))
    ids = import_folder(inbox, run_setup, "upscale")
    table = [one_job(spark, run_setup, job).table for job in jobs][-1]
    assert table is not None
    part = zero_rows(table)
    with pytest.raises(Exception, match="reading file") as raised:
        one_job(spark, run_setup, reader)
    line = one_line_reason(raised.value)
    assert line.startswith(f"{part}: cannot be read as it was written (")
    assert "start the run again" in line
    manifest = run_jobs(spark, run_setup.settings, run_setup.layout)
    assert manifest.counts["evaluate_images"] == len(ids)

"""First job: images to tiles. ``spark-submit mass_split.py --config config.yaml --run-id ID``."""

from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from jobs.attempts import new_attempt, totals, write_attempt
from jobs.isolated_tasks import split_isolated
from jobs.job import JobReport, Run, job_main, print_left_out
from jobs.selection import SourceImage, deal, forget_finished, pending_images
from jobs.tables import TILES, sql_schema, tiles_to_batches
from jobs.tasks import in_this_process, is_first_attempt, task_bounds
from jobs.works import SplitWork

# Size of a Parquet part of inference, where most bytes are. The split's parts are smaller by the
# square of the scale (32, 14 or 8 MiB), and each is one task of inference.
PART_BYTES = 128 << 20


def table_and_images(run: Run, folder: str) -> tuple[str, list[SourceImage]]:
    """The URI of the table to write, and the images to process.

    The images are listed after the table has its name and, with ``--redo``, after their records
    are deleted. So a run at the same time that lists later has a newer table and includes them.
    """
    if run.redo:
        forget_finished(run.layout)
    table = new_attempt(folder, run.owner)
    pending = pending_images(run.layout)
    print_left_out(pending.left_out)
    return table, pending.images


def deal_to_tasks(
    session: SparkSession, images: list[SourceImage], bytes_per_task: int
) -> tuple[DataFrame, list[list[SourceImage]]]:
    """A frame of task numbers, one row in each partition, and the images of each."""
    groups = deal(images, session.sparkContext.defaultParallelism, bytes_per_task)
    return session.range(0, len(groups), 1, max(1, len(groups))), groups


def run_split(run: Run) -> JobReport:
    """Cuts the run's pending images into tiles; an image that cannot be decoded is rejected."""
    table, images = table_and_images(run, run.layout.patches)
    numbers, groups = deal_to_tasks(run.session, images, PART_BYTES // run.layout.scale**2)
    shared = run.session.sparkContext.broadcast(groups)
    layout, count = run.layout, run.progress.image.add
    work = SplitWork(run.settings.processing, layout)
    bounds = task_bounds(run.session.sparkContext, run.settings.processing)

    def split_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbered = (number for batch in batches for number in batch.column("id").to_pylist())
        mine = (image for number in numbered for image in shared.value[number])
        if is_first_attempt():
            tiles = in_this_process(mine, bounds, partial(work.over, count_image=count))
        else:
            tiles = split_isolated(mine, work, bounds, count)
        return tiles_to_batches(tiles)

    run.progress.start("split", len(images), "images")
    write_attempt(numbers.mapInArrow(split_task, sql_schema(TILES)), table)
    first_tiles = "count_if(`row` = 0 AND `column` = 0) AS images"
    written = totals(run.session, table, first_tiles, "count(*) AS patches")
    rejected = len(images) - written["images"]
    counts = {"images": written["images"], "rejected": rejected, "patches": written["patches"]}
    return JobReport(counts, table)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("mass_split", "jobs.mass_split:run_split", takes_redo=True)

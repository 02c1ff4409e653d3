"""First job: images to tiles. ``spark-submit mass_split.py --config config.yaml --run-id ID``."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from jobs.attempts import write_attempt
from jobs.command import JobReport, Run, job_main
from jobs.selection import SourceImage, deal, pending_images
from jobs.stages import split_images
from jobs.tables import TILES, sql_schema, tiles_to_batches

# Decoded planes in one task: its Parquet part comes out about this large.
PART_BYTES = 128 << 20


def deal_to_tasks(
    session: SparkSession, images: list[SourceImage], bytes_per_task: int
) -> tuple[DataFrame, list[list[SourceImage]]]:
    """A frame of task numbers, one row in each partition, and the images of each."""
    groups = deal(images, session.sparkContext.defaultParallelism, bytes_per_task)
    return session.range(0, len(groups), 1, max(1, len(groups))), groups


def run_split(run: Run) -> JobReport:
    """Cuts the run's pending images into tiles; bad ones are rejected and the rest go on."""
    images = pending_images(run.layout, redo=run.redo)
    numbers, groups = deal_to_tasks(run.session, images, PART_BYTES)
    shared = run.session.sparkContext.broadcast(groups)
    processing, layout, count = run.settings.processing, run.layout, run.progress.image.add

    def split_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbered = (number for batch in batches for number in batch.column("id").to_pylist())
        mine = (image for number in numbered for image in shared.value[number])
        return tiles_to_batches(split_images(mine, processing, layout, count))

    run.progress.start("split", len(images), "images")
    tiles = numbers.mapInArrow(split_task, sql_schema(TILES))
    return JobReport({"images": len(images)}, write_attempt(tiles, run.layout.patches))


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("mass_split", "jobs.mass_split:run_split")

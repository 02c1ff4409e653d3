"""Third job: upscaled tiles to PNG images."""

import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, functions

from jobs.attempts import new_attempt, newest_attempt, read_whole_files, write_attempt
from jobs.job import JobReport, Run, job_main
from jobs.stages import reconstruct_images
from jobs.tables import (
    IMAGES,
    ReconstructedImage,
    Timed,
    batches_to_tiles,
    images_to_batches,
    sql_schema,
)
from superres.pipeline.layout import Layout

_NEVER = 1 << 50  # bytes: no file is split


def run_reconstruct(run: Run) -> JobReport:
    """Puts together the images of the newest complete inference of this run.

    The tiles of an image are in one part, in order, unless it was so large that several tasks
    upscaled it. Only such images need a shuffle.
    """
    source = run.table or newest_attempt(run.layout.inference, "batch_inference.py")
    tiles = read_whole_files(run.session, source, split_at=_NEVER)
    # Spark's default of 200 shuffle tasks is for tables, not for a handful of names.
    parallelism = run.session.sparkContext.defaultParallelism
    run.session.conf.set("spark.sql.shuffle.partitions", parallelism)
    parts = tiles.select("image_id", functions.input_file_name().alias("part")).distinct()
    parts_of_images = parts.groupBy("image_id").count().collect()
    scattered = [row["image_id"] for row in parts_of_images if row["count"] > 1]
    frames = [tiles]
    if scattered:
        frames = [
            tiles.where(~tiles["image_id"].isin(scattered)),
            _gathered(tiles.where(tiles["image_id"].isin(scattered)), len(scattered)),
        ]
    run.progress.start("reconstruct", len(parts_of_images), "images")
    count, layout = run.progress.image.add, run.layout

    def reconstruct_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        def reconstructed() -> Iterator[ReconstructedImage]:
            for image in _reconstruct(iter(batches), layout):
                count(1)
                yield image

        return images_to_batches(reconstructed())

    written = [frame.mapInArrow(reconstruct_task, sql_schema(IMAGES)) for frame in frames]
    images = written[0].union(written[1]) if scattered else written[0]
    table = new_attempt(layout.reconstructed, source)
    write_attempt(images, table)
    counts = {"images": len(parts_of_images), "scattered_images": len(scattered)}
    return JobReport(counts, table)


def _gathered(tiles: DataFrame, images: int) -> DataFrame:
    return tiles.repartition(images, "image_id").sortWithinPartitions("image_id", "row", "column")


def _reconstruct(batches: Iterator[pa.RecordBatch], layout: Layout) -> Iterator[ReconstructedImage]:
    """Reads the scale, the same for a whole table, from its first row."""
    first = next(batches, None)
    if first is None:
        return iter(())
    scale = first.column("scale")[0].as_py()
    tiles: Iterator[Timed] = batches_to_tiles(itertools.chain([first], batches))
    return reconstruct_images(tiles, scale, layout)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("mass_reconstruct", "jobs.mass_reconstruct:run_reconstruct")

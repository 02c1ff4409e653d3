"""Third job: upscaled tiles to PNG images."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import DataFrame, Row, functions

from jobs.attempts import new_attempt, newest_attempt, read_whole_files, write_attempt
from jobs.isolated_tasks import Union, reconstruct_isolated
from jobs.job import JobReport, Run, job_main
from jobs.selection import rejections
from jobs.stages import clear_unfinished
from jobs.tables import IMAGES, batches_to_tiles, images_to_batches, sql_schema
from jobs.tasks import in_this_process, is_first_attempt, task_bounds
from jobs.works import ReconstructWork
from superres.pipeline.layout import Layout

_NEVER = 1 << 50  # bytes: no file is split


def run_reconstruct(run: Run) -> JobReport:
    """Puts together the images of the newest complete inference of this run.

    The tiles of an image are in one part, in order, unless it was so large that several tasks
    upscaled it. Only such images need a shuffle. Images that inference has rejected are left out.
    """
    source = run.table or newest_attempt(run.layout.inference, "batch_inference.py")
    tiles = read_whole_files(run.session, source, split_at=_NEVER)
    context, layout = run.session.sparkContext, run.layout
    clear_unfinished(layout)
    # Spark's default of 200 shuffle tasks is for tables, not for a handful of names.
    run.session.conf.set("spark.sql.shuffle.partitions", context.defaultParallelism)
    images = _images_in(tiles)
    left_out = _rejected_before(images, layout)
    images = [image for image in images if image["image_id"] not in left_out]
    scattered = [image["image_id"] for image in images if image["parts"] > 1]
    in_order = _without(tiles, left_out | set(scattered))
    run.progress.start("reconstruct", len(images), "images")
    count, work = run.progress.image.add, ReconstructWork(layout)
    bounds = task_bounds(context, run.settings.processing)
    rejected = context.accumulator(frozenset[str](), Union())

    def reconstruct_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        upscaled = batches_to_tiles(batches)
        if is_first_attempt():
            written = in_this_process(upscaled, bounds, work.over)
        else:
            written = reconstruct_isolated(upscaled, work, bounds, rejected.add)
        for batch in images_to_batches(written):
            count(1)
            yield batch

    written = in_order.mapInArrow(reconstruct_task, sql_schema(IMAGES))
    if scattered:
        gathered = _gathered(tiles.where(tiles["image_id"].isin(scattered)), len(scattered))
        written = written.union(gathered.mapInArrow(reconstruct_task, sql_schema(IMAGES)))
    table = new_attempt(layout.reconstructed, run.owner, source)
    write_attempt(written, table)
    lost = len(rejected.value)
    counts = {"images": len(images) - lost, "rejected": lost, "scattered_images": len(scattered)}
    return JobReport(counts, table)


def _images_in(tiles: DataFrame) -> list[Row]:
    """The images of a table: their ``image_id``, and how many ``parts`` and ``tiles`` they are in.

    ``expected`` is the number of tiles of a whole image. No pixels are read.
    """
    expected = "ceil(height / patch_size) * ceil(width / patch_size) AS expected"
    rows = tiles.selectExpr("image_id", "input_file_name() AS part", expected)
    found = rows.groupBy("image_id").agg(
        functions.size(functions.collect_set("part")).alias("parts"),
        functions.count("*").alias("tiles"),
        functions.first("expected").alias("expected"),
    )
    return found.collect()


def _rejected_before(images: Iterable[Row], layout: Layout) -> set[str]:
    """The images that lack tiles because inference has rejected them."""
    incomplete = {image["image_id"] for image in images if image["tiles"] < image["expected"]}
    if not incomplete:
        return set()
    return {record.image_id for record in rejections(layout, incomplete)}


def _without(tiles: DataFrame, image_ids: Iterable[str]) -> DataFrame:
    named = list(image_ids)
    return tiles.where(~tiles["image_id"].isin(named)) if named else tiles


def _gathered(tiles: DataFrame, images: int) -> DataFrame:
    return tiles.repartition(images, "image_id").sortWithinPartitions("image_id", "row", "column")


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("mass_reconstruct", "jobs.mass_reconstruct:run_reconstruct")

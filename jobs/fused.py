"""Split, inference and reconstruction in one stage, with nothing written in between.

The fastest way when the tables between the jobs are not needed. Functions, pixels and records are
those of the three jobs; an image stays in one task, so one huge image uses one core.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import pyarrow as pa

from jobs.attempts import totals, write_attempt
from jobs.batch_inference import share_engines
from jobs.isolated_tasks import fuse_isolated
from jobs.job import JobReport, Run, job_main
from jobs.mass_split import deal_to_tasks, table_and_images
from jobs.stages import clear_unfinished
from jobs.tables import IMAGES, images_to_batches, sql_schema
from jobs.tasks import in_this_process, is_first_attempt, task_bounds
from jobs.works import FusedWork

# Nothing is written between, so tasks can be small and the last wave short.
TASK_BYTES = 8 << 20


def run_fused(run: Run) -> JobReport:
    """Upscales the run's pending images, from stored image to PNG."""
    clear_unfinished(run.layout)
    table, images = table_and_images(run, run.layout.reconstructed)
    numbers, groups = deal_to_tasks(run.session, images, TASK_BYTES)
    shared = run.session.sparkContext.broadcast(groups)
    engines, processing, layout = share_engines(run), run.settings.processing, run.layout
    bounds = task_bounds(run.session.sparkContext, processing)
    count_image, count_tile = run.progress.image.add, run.progress.patch.add

    def fused_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbered = (number for batch in batches for number in batch.column("id").to_pylist())
        mine = (image for number in numbered for image in shared.value[number])
        work = FusedWork(processing, layout, engines.here())
        if is_first_attempt():
            counted = partial(work.over, count_image=count_image, count_tile=count_tile)
            written = in_this_process(mine, bounds, counted)
        else:
            written = fuse_isolated(mine, work, bounds, count_image)
        return images_to_batches(written)

    run.progress.start("split, infer and reconstruct", len(images), "images")
    write_attempt(numbers.mapInArrow(fused_task, sql_schema(IMAGES)), table)
    patches = "coalesce(sum(patches), 0) AS patches"
    written = totals(run.session, table, "count(*) AS images", patches)
    rejected = len(images) - written["images"]
    counts = {"images": written["images"], "rejected": rejected, "patches": written["patches"]}
    return JobReport(counts, table)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("fused", "jobs.fused:run_fused", takes_redo=True)

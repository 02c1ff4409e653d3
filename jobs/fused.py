"""Split, inference and reconstruction in one stage, with nothing written in between.

The fastest way when the tables between the jobs are not needed. Functions, pixels and records are
those of the three jobs; an image stays in one task, so one huge image uses one core.
"""

from collections.abc import Iterable, Iterator

import pyarrow as pa

from jobs.attempts import totals, write_attempt
from jobs.batch_inference import share_engines
from jobs.job import JobReport, Run, job_main
from jobs.mass_split import deal_to_tasks, table_and_images
from jobs.stages import infer_tiles, reconstruct_images, split_images
from jobs.tables import IMAGES, ReconstructedImage, images_to_batches, sql_schema

# Nothing is written between, so tasks can be small and the last wave short.
TASK_BYTES = 8 << 20


def run_fused(run: Run) -> JobReport:
    """Upscales the run's pending images, from stored image to PNG."""
    table, images = table_and_images(run, run.layout.reconstructed)
    numbers, groups = deal_to_tasks(run.session, images, TASK_BYTES)
    shared = run.session.sparkContext.broadcast(groups)
    engine_for = share_engines(run)
    processing, layout = run.settings.processing, run.layout
    count_image, count_patch = run.progress.image.add, run.progress.patch.add

    def fused_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        def reconstructed() -> Iterator[ReconstructedImage]:
            for batch in batches:
                for number in batch.column("id").to_pylist():
                    tiles = split_images(
                        iter(shared.value[number]), processing, layout, count_image
                    )
                    upscaled = infer_tiles(tiles, engine_for, count_patch)
                    yield from reconstruct_images(upscaled, layout.scale, layout)

        return images_to_batches(reconstructed())

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

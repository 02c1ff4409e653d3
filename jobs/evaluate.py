"""Last job: measures every image and writes its evaluation, which makes it finished.

Where there is an original (mode ``evaluate``), the record has PSNR and SSIM of the result and of
bicubic enlargement; elsewhere these are absent. Submitted on its own, it also writes the manifest.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa

from jobs.attempts import newest_attempt, read_attempt
from jobs.evaluate_image import image_locations
from jobs.isolated_tasks import evaluate_isolated
from jobs.job import JobReport, Run, job_main, print_left_out
from jobs.manifest import write_manifest
from jobs.selection import stored_images
from jobs.tables import batches_to_images
from jobs.tasks import in_this_process, is_first_attempt, task_bounds
from jobs.works import EvaluateWork, LocatedImage

_OUTCOME = "image_id string, rejected boolean, network string, model_digest string"


def evaluate_and_record(run: Run) -> JobReport:
    """Runs ``run_evaluate`` and writes the manifest with the counts and seconds of this job."""
    started = time.monotonic()
    report = run_evaluate(run)
    counts = {f"evaluate_{name}": count for name, count in report.counts.items()}
    seconds = {"evaluate": round(time.monotonic() - started, 3)}
    manifest = write_manifest(run.layout, counts, seconds, report.models, datetime.now(UTC))
    # In any job and any start of the run: what the state machine reports.
    return replace(report, counts=report.counts | {"rejected_by_run": len(manifest.rejected)})


def run_evaluate(run: Run) -> JobReport:
    """Evaluates the images that the newest complete reconstruction of this run lists."""
    source = run.table or newest_attempt(
        run.layout.reconstructed, "mass_reconstruct.py or fused.py"
    )
    images = read_attempt(run.session, source)
    total = images.count()
    run.progress.start("evaluate", total, "images")
    # A row has a few hundred bytes, so repartitioning costs nothing.
    tasks = max(1, min(total, 4 * run.session.sparkContext.defaultParallelism))
    layout, processing, count = run.layout, run.settings.processing, run.progress.image.add
    stored = stored_images(layout)
    print_left_out(stored.left_out)
    locations = run.session.sparkContext.broadcast(image_locations(stored.images, layout))

    work = EvaluateWork(processing, layout)
    bounds = task_bounds(run.session.sparkContext, processing)

    def evaluate_task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        located = (
            LocatedImage(image, locations.value.of(image.image_id))
            for image in batches_to_images(batches)
        )
        if is_first_attempt():
            evaluated = in_this_process(located, bounds, work.over)
        else:
            evaluated = evaluate_isolated(located, work, bounds)
        for image, finished in evaluated:
            count(1)
            outcome = {
                "image_id": image.image_id,
                "rejected": not finished,
                "network": image.network,
                "model_digest": image.model_digest,
            }
            yield pa.RecordBatch.from_pylist([outcome])

    outcomes = images.repartition(tasks).mapInArrow(evaluate_task, _OUTCOME).collect()
    rejected = sum(row["rejected"] for row in outcomes)
    models = {
        row["model_digest"]: processing.checkpoint_name(layout.scale, row["network"])
        for row in outcomes
        if not row["rejected"]
    }
    return JobReport({"images": total - rejected, "rejected": rejected}, models=models)


if __name__ == "__main__":
    # By its name, since workers cannot import what is defined in __main__.
    job_main("evaluate", "jobs.evaluate:evaluate_and_record")

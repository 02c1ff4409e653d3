"""The jobs one after the other in one Spark session: what `superres run` does on one machine."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from jobs.batch_inference import run_inference
from jobs.evaluate import run_evaluate
from jobs.fused import run_fused
from jobs.gpu_wait import gpu_within
from jobs.job import Job, Run
from jobs.manifest import write_manifest
from jobs.mass_reconstruct import run_reconstruct
from jobs.mass_split import run_split
from jobs.owners import owned_tables
from jobs.progress import OnProgress, watching
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.layout import Layout
from superres.pipeline.records import RunManifest

SEPARATE_JOBS: dict[str, Job] = {
    "split": run_split,
    "infer": run_inference,
    "reconstruct": run_reconstruct,
    "evaluate": run_evaluate,
}
FUSED_JOBS: dict[str, Job] = {"fused": run_fused, "evaluate": run_evaluate}


def run_jobs(
    session: SparkSession,
    settings: Settings,
    layout: Layout,
    *,
    fused: bool = False,
    redo: bool = False,
    on_progress: OnProgress = lambda _: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> RunManifest:
    """Runs the jobs on the layout's pending images and writes the manifest of this start.

    The tables between the jobs are deleted at the end. A failed run leaves its own for inspection,
    until the next start of the run.
    """
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    models: dict[str, str] = {}
    tables: list[str] = []
    table: str | None = None
    context, patience = session.sparkContext, settings.processing.gpu_wait_seconds
    with (
        owned_tables(layout) as owner,
        watching(context, on_progress) as progress,
        gpu_within(context, patience),
    ):
        for name, job in (FUSED_JOBS if fused else SEPARATE_JOBS).items():
            started = time.monotonic()
            report = job(Run(session, settings, layout, progress, redo, table, owner))
            table = report.table
            tables += [table] if table else []
            progress.report()
            seconds[name] = round(time.monotonic() - started, 3)
            models |= report.models
            counts |= {f"{name}_{key}": count for key, count in report.counts.items()}
        manifest = write_manifest(layout, counts, seconds, models, now())
        for written in tables:
            storage.delete_tree(written)
    return manifest

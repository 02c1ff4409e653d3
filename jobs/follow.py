"""``superres run --follow``: new images are upscaled within seconds, in one warm Spark session."""

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import product

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from rich.console import Console
from rich.markup import escape

from jobs.job import print_left_out
from jobs.report import figures_of, outcome_of, rejection_line
from jobs.runner import run_jobs
from jobs.selection import pending_images
from jobs.session import one_line_reason
from superres.errors import StorageError
from superres.network.precision import decided_recipe
from superres.pipeline.config import Settings
from superres.pipeline.layout import Layout, layout_on
from superres.pipeline.records import Evaluation, name_of

_LOOK_SECONDS = 0.5
_RETRY_SECONDS = 5.0


def follow_images(
    session: SparkSession,
    settings: Settings,
    scales: Iterable[int],
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    wait: Callable[[float], None] = time.sleep,
) -> None:
    """Upscales the pending images of today and yesterday, again and again, until interrupted.

    Prints each result as a line on standard output as soon as it is finished. Uses the fused job:
    for one image at a time, tables between the jobs would take longer than the work. A failure of
    storage is reported once and retried.
    """
    scales, started_at = list(scales), now()
    results, remarks = Console(highlight=False), Console(stderr=True, highlight=False)
    _warm_up(session)
    remarks.print("Waiting for images; stop with Ctrl-C")
    reported = set[str]()
    while True:
        days = [now().date(), now().date() - timedelta(days=1)]
        found, failing = False, set[str]()
        for day, scale in product(days, scales):
            recipe = decided_recipe(settings, scale)
            layout = layout_on(settings.dataset, day, scale, recipe).started(started_at)
            try:
                pending = pending_images(layout)
                print_left_out(pending.left_out)
                if pending.images:
                    found = True
                    run_jobs(session, settings, layout, fused=True)
                    for image in pending.images:
                        _print_outcome(results, remarks, layout, image.image_id)
            except StorageError as error:
                failing.add(str(error))
            except PySparkException as error:
                if "superres.errors.StorageError" not in str(error):  # of a task
                    raise
                failing.add(one_line_reason(error))
        for reason in sorted(failing - reported):
            remarks.print(f"{escape(reason)}; retrying", soft_wrap=True)
        reported = failing
        if failing or not found:
            wait(_RETRY_SECONDS if failing else _LOOK_SECONDS)


def _warm_up(session: SparkSession) -> None:
    """Starts a Python worker on every core with its libraries: most of a first result's time."""

    def load(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for module in ("jobs.fused", "onnxruntime"):
            importlib.import_module(module)
        yield from rows

    cores = session.sparkContext.defaultParallelism
    session.range(cores, numPartitions=cores).mapInArrow(load, "id long").collect()


def _print_outcome(results: Console, remarks: Console, layout: Layout, image_id: str) -> None:
    record = outcome_of(image_id, layout)
    if isinstance(record, Evaluation):
        size = f"{record.result.width}×{record.result.height}"
        results.print(
            f"{escape(name_of(record.source))}  ×{record.scale}  {size}{figures_of(record)}  "
            f"{escape(record.result.uri)}",
            soft_wrap=True,
        )
    elif record is not None:
        remarks.print(rejection_line(record))

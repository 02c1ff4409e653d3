"""Taking new images as they come, in one warm Spark session: a result within seconds."""

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

from jobs.report import figures_of, outcome_of, rejection_line
from jobs.runner import run_jobs
from jobs.selection import pending_images
from jobs.session import one_line_reason
from superres.errors import StorageError
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
    """Super-resolves what is pending of today and yesterday, again and again, until interrupted.

    Each result is a line on standard output as soon as it is there. The fused job does it: for one
    image at a time, tables between the jobs would take longer than the work. A storage that fails
    is told of once and tried again.
    """
    scales = list(scales)
    results, remarks = Console(highlight=False), Console(stderr=True, highlight=False)
    _warm_up(session)
    remarks.print("Waiting for images; Ctrl-C ends it")
    told = set[str]()
    while True:
        days = [now().date(), now().date() - timedelta(days=1)]
        found, failing = False, set[str]()
        for layout in (layout_on(settings.dataset, *of) for of in product(days, scales)):
            try:
                pending = pending_images(layout)
                if pending:
                    found = True
                    run_jobs(session, settings, layout, fused=True)
                    for image in pending:
                        _tell(results, remarks, layout, image.image_id)
            except StorageError as error:
                failing.add(str(error))
            except PySparkException as error:
                if "superres.errors.StorageError" not in str(error):  # of a task
                    raise
                failing.add(one_line_reason(error))
        for reason in sorted(failing - told):
            remarks.print(f"{escape(reason)}; it is tried again", soft_wrap=True)
        told = failing
        if failing or not found:
            wait(_RETRY_SECONDS if failing else _LOOK_SECONDS)


def _warm_up(session: SparkSession) -> None:
    """Has every core start a Python worker that loads what it will need: most of a first result."""

    def load(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for module in ("jobs.fused", "onnxruntime"):
            importlib.import_module(module)
        yield from rows

    cores = session.sparkContext.defaultParallelism
    session.range(cores, numPartitions=cores).mapInArrow(load, "id long").collect()


def _tell(results: Console, remarks: Console, layout: Layout, image_id: str) -> None:
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

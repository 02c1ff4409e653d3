"""Taking new images as they come, in one warm Spark session: a result within seconds."""

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
from pyspark.sql import SparkSession
from rich.console import Console
from rich.markup import escape

from jobs.report import figures_of
from jobs.runner import run_jobs
from jobs.selection import pending_images
from superres import storage
from superres.config import Settings
from superres.layout import Layout, default_run_id, layout_of
from superres.records import Evaluation, RejectedImage, name_of

_LOOK_SECONDS = 0.5


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
    image at a time, tables between the jobs would take longer than the work.
    """
    scales = list(scales)
    results, remarks = Console(highlight=False), Console(stderr=True, highlight=False)
    _warm_up(session)
    remarks.print("Waiting for images; Ctrl-C ends it")
    while True:
        days = [now().date(), now().date() - timedelta(days=1)]
        found = False
        for layout in (_layout(settings, day, scale) for day in days for scale in scales):
            pending = pending_images(layout)
            if pending:
                found = True
                run_jobs(session, settings, layout, fused=True)
                for image in pending:
                    _tell(results, remarks, layout, image.image_id)
        if not found:
            wait(_LOOK_SECONDS)


def _warm_up(session: SparkSession) -> None:
    """Has every core start a Python worker that loads what it will need: most of a first result."""

    def load(rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for module in ("jobs.fused", "onnxruntime"):
            importlib.import_module(module)
        yield from rows

    cores = session.sparkContext.defaultParallelism
    session.range(cores, numPartitions=cores).mapInArrow(load, "id long").collect()


def _layout(settings: Settings, day: date, scale: int) -> Layout:
    return layout_of(settings.dataset, default_run_id(day, scale), scale, day)


def _tell(results: Console, remarks: Console, layout: Layout, image_id: str) -> None:
    if storage.exists(uri := layout.evaluation(image_id)):
        record = Evaluation.from_json(storage.read_bytes(uri), uri)
        size = f"{record.result.width}×{record.result.height}"
        results.print(
            f"{escape(name_of(record.source))}  ×{record.scale}  {size}{figures_of(record)}  "
            f"{escape(record.result.uri)}",
            soft_wrap=True,
        )
    elif storage.exists(uri := layout.rejection(image_id)):
        rejection = RejectedImage.from_json(storage.read_bytes(uri), uri)
        remarks.print(
            f"[yellow]rejected[/] {escape(name_of(rejection.source))}: {escape(rejection.reason)}"
        )

"""`superres run`: the whole job on one machine, photographs to sharp photographs and figures."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TypeVar

import click
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn

from jobs.follow import follow_images
from jobs.import_folder import photographs_in, take_in
from jobs.progress import Show, Shown
from jobs.report import outcome_of, print_table, rejection_line, result_picture
from jobs.runner import run_jobs
from jobs.selection import stored_images
from jobs.session import get_session, one_line_reason
from jobs.standalone import EXECUTOR_MEMORY_MIB, Resources, local_conf, standalone_cluster
from superres.cli.options import config_option, config_or_default, scale_option
from superres.cli.terminal import progress_bar
from superres.errors import ConfigError, SuperresError
from superres.pipeline.config import Settings, load_settings
from superres.pipeline.layout import Layout, dataset_in, layout_on
from superres.pipeline.records import Evaluation, Mode, RejectedImage, RunManifest, Scale, name_of

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
T = TypeVar("T")
_MOST_TOLD = 1000  # images whose records are read for the table at the end


@click.command(epilog="Example: superres run --input holiday/ --scale 4")
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    help="A photograph or a folder to take in first.  [default: what ingestion has stored]",
)
@scale_option("Times as wide and high.  [default: configured]")
@click.option(
    "--mode",
    type=click.Choice(["evaluate", "upscale"]),
    help="Of --input. evaluate: the photographs are the truth, reduced first and measured after. "
    "upscale: they are what is enlarged.  [default: configured]",
)
@click.option(
    "--ingest-date",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Day (UTC) for which the images were requested.  [default: today]",
)
@click.option("--fused", is_flag=True, help="One Spark stage instead of three jobs.")
@click.option("--redo", is_flag=True, help="Process finished and rejected images, too.")
@click.option("--follow", is_flag=True, help="Stay and take new images as they come, until Ctrl-C.")
@click.option("--master", help="A Spark master to use, as in spark://host:7077 or local[2].")
@click.option("--output", metavar="DIR", help="Folder or s3:// prefix for everything written.")
@config_option
def run(
    source: Path | None,
    scale: Scale | None,
    mode: Mode | None,
    ingest_date: datetime | None,
    fused: bool,
    redo: bool,
    follow: bool,
    master: str | None,
    output: str | None,
    config: str | None,
) -> None:
    """Super-resolve photographs on Spark: split, infer, reconstruct, evaluate.

    It takes what ingestion has stored (`superres ingest`), or photographs named with --input. A
    Spark master and worker are started for the run and stopped after it, unless --master names one.
    A photograph that must be rejected is named, and the others are done.
    """
    # py4j logs tracebacks of what is told in one line below, or was stopped with Ctrl-C.
    logging.disable(logging.CRITICAL)
    leaving = _Leaving()
    console = Console(stderr=True, highlight=False)
    settings = load_settings(config_or_default(config))
    if output is not None:
        settings = settings.model_copy(update={"dataset": dataset_in(output)})
    if follow and (source or ingest_date or redo):
        raise click.UsageError("--follow takes what comes: no --input, --ingest-date or --redo")
    day = ingest_date.date() if ingest_date else datetime.now(UTC).date()
    layout = layout_on(settings.dataset, day, scale or settings.processing.upscale_factor)
    ids = [] if follow else _image_ids(source, mode, settings, layout)
    started = time.monotonic()
    try:
        with _session(console, settings, layout, master) as session:
            if follow:
                follow_images(session, settings, [scale] if scale else [2, 3, 4])
                return
            with _bar() as bar:
                manifest = run_jobs(
                    session, settings, layout, fused=fused, redo=redo, show=_show_in(bar)
                )
    except (PySparkException, Py4JError) as error:
        leaving.leave_if_told()
        raise SuperresError(f"the Spark run failed: {one_line_reason(error)}") from None
    if _tell(console, ids, manifest, layout, time.monotonic() - started):
        click.get_current_context().exit(1)


class _Leaving:
    """Ends the run at the first signal, and remembers it: what Spark says after it is no failure.

    The end of a login or a job must not leave a master and worker behind, as Ctrl-C does not.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        for number in _ENDING:
            signal.signal(number, self._receive)

    def leave_if_told(self) -> None:
        """Raises what a signal raised, if one came."""
        if self._received == signal.SIGINT:
            raise KeyboardInterrupt
        if self._received is not None:
            sys.exit(128 + self._received)

    def _receive(self, received: int, _: object) -> None:
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)  # a second one must not cut the end short
        self._received = received
        self.leave_if_told()


def _image_ids(
    source: Path | None, mode: Mode | None, settings: Settings, layout: Layout
) -> list[str]:
    """The images that this run is about: those named, once they are stored, or all of the day."""
    if source is not None:
        files = photographs_in(source)
        with _bar() as bar:
            task = bar.add_task("take in", total=len(files), unit="images")
            ids = []
            for one in take_in(files, mode or settings.ingestion.mode, settings.processing, layout):
                ids.append(one.image_id)
                bar.advance(task)
        return ids
    ids = [image.image_id for image in stored_images(layout)]
    if not ids:
        raise ConfigError(
            f"{layout.low_resolution}: no images there; bring some in with `superres ingest` "
            "or name some with --input"
        )
    return ids


@contextmanager
def _session(
    console: Console, settings: Settings, layout: Layout, master: str | None
) -> Iterator[SparkSession]:
    name = f"superres {layout.run_id}"
    with _master(console, master, os.cpu_count() or 1) as url:
        with console.status("Starting the Spark session …"):
            session = _beside(lambda: get_session(name, settings, local_conf(url)))
        try:
            yield session
        finally:
            _beside(lambda: _stop(session))


def _stop(session: SparkSession) -> None:
    with suppress(Py4JError):
        session.sparkContext.setLogLevel("OFF")  # a job that it breaks off is no error
    session.stop()


def _beside(action: Callable[[], T]) -> T:
    """Calls it in another thread than the one that signals break off.

    In that one, Spark would set its own handler of Ctrl-C, which fails amid a call of Java; and to
    stop would wait for the end of the call that was broken off.
    """
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=call, name="session", daemon=True).start()
    return future.result()


@contextmanager
def _master(console: Console, master: str | None, cores: int) -> Iterator[str]:
    """The master that was named, or one started here for the time of the run."""
    named = master or os.environ.get("SPARK_MASTER")
    if named:
        yield named
        return
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    folder = Path(os.environ.get("SUPERRES_LOCAL_DIR", ".local")).absolute() / "spark"
    resources = Resources(cores, EXECUTOR_MEMORY_MIB + 512)
    console.print("Starting a Spark master and worker …")
    with standalone_cluster(resources, folder) as url:
        yield url


def _bar() -> Progress:
    return progress_bar(TextColumn("{task.completed:.0f} of {task.total:.0f} {task.fields[unit]}"))


def _show_in(bar: Progress) -> Show:
    tasks: dict[str, TaskID] = {}

    def show(shown: Shown) -> None:
        if shown.stage not in tasks:
            tasks[shown.stage] = bar.add_task(shown.stage, total=shown.total, unit=shown.unit)
        bar.update(tasks[shown.stage], completed=shown.done)

    return show


def _tell(
    console: Console, ids: list[str], manifest: RunManifest, layout: Layout, seconds: float
) -> bool:
    """Prints results to standard output and remarks to ``console``; whether any was rejected."""
    results = Console(highlight=False)
    evaluations: list[Evaluation] = []
    rejected: list[RejectedImage] = []
    for image_id in ids[:_MOST_TOLD]:
        record = outcome_of(image_id, layout)
        if isinstance(record, Evaluation):
            evaluations.append(record)
        elif record is not None:
            rejected.append(record)
    print_table(results, sorted(evaluations, key=lambda record: name_of(record.source)))
    if len(ids) > _MOST_TOLD:
        console.print(f"(of {_MOST_TOLD:,} of {len(ids):,} images)")
    for rejection in rejected:
        console.print(rejection_line(rejection))
    steps = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in manifest.seconds.items())
    console.print(f"Spark took {seconds:.0f} s: {steps}")
    done = len(evaluations) - manifest.counts["evaluate_images"]
    if done > 0 and len(ids) <= _MOST_TOLD:
        console.print(f"{done} of them had been finished before; --redo does them again")
    results.print(f"Results  {layout.dataset.reconstructed_images_dir}", soft_wrap=True)
    picture = result_picture(evaluations, layout)
    if picture:
        results.print(f"Picture  {picture}", soft_wrap=True)
    return bool(rejected)

"""The whole job on one machine: photographs in, sharp photographs and figures out."""

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from jobs.intake import TakenIn, photographs_in, sample_photographs, take_in
from jobs.progress import Show, Shown
from jobs.report import print_table, result_picture
from jobs.runner import run_jobs
from jobs.session import get_session, one_line_reason
from jobs.standalone import EXECUTOR_MEMORY_MIB, Resources, local_conf, standalone_cluster
from superres import storage
from superres.config import Dataset, Settings, load_settings
from superres.errors import SuperresError
from superres.layout import Layout, default_run_id, layout_of
from superres.records import Evaluation, Mode, RejectedImage, RunManifest


@click.command()
@click.option(
    "--input", "source", type=click.Path(path_type=Path), help="A photograph or a folder."
)
@click.option("--scale", type=click.Choice(["2", "3", "4"]), help="Times as wide and high.")
@click.option(
    "--mode",
    type=click.Choice(["evaluate", "upscale"]),
    default="evaluate",
    show_default=True,
    help="evaluate: the photographs are the truth, reduced first and measured after. "
    "upscale: they are what is enlarged.",
)
@click.option("--fused", is_flag=True, help="One Spark stage instead of three jobs.")
@click.option("--redo", is_flag=True, help="Process images that are finished, too.")
@click.option("--master", help="A Spark master to use, as in spark://host:7077 or local[2].")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for everything written.")
@click.option("--config", help="config.yaml: a path or an s3:// URI.  [default: ./config.yaml]")
def run(
    source: Path | None,
    scale: str | None,
    mode: Mode,
    fused: bool,
    redo: bool,
    master: str | None,
    output: Path | None,
    config: str | None,
) -> None:
    """Super-resolves photographs on Spark: split, infer, reconstruct, evaluate.

    Without --input it takes the photographs that come with scikit-image. A Spark master and worker
    are started for the run and stopped after it, unless --master names one.

    Example: superres run --input holiday/ --scale 4
    """
    # py4j logs tracebacks of what is told in one line below, or was stopped with Ctrl-C.
    logging.disable(logging.CRITICAL)
    # As Ctrl-C does, the end of a session or a job must not leave a master and worker behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    console = Console()
    settings = _settings(config, output)
    chosen = int(scale) if scale else settings.processing.upscale_factor
    today = datetime.now(UTC).date()
    layout = layout_of(settings.dataset, default_run_id(today, chosen), chosen, today)
    files = photographs_in(source) if source else sample_photographs()
    taken = _take_in(console, files, mode, settings, layout)
    started = time.monotonic()
    try:
        manifest = _process(console, settings, layout, master, fused=fused, redo=redo)
    except (PySparkException, Py4JError) as error:
        raise SuperresError(f"the Spark run failed: {one_line_reason(error)}") from None
    _tell(console, taken, manifest, layout, time.monotonic() - started)


def _settings(config: str | None, output: Path | None) -> Settings:
    if config is None and Path("config.yaml").is_file():
        config = "config.yaml"
    settings = load_settings(config)
    if output is None:
        return settings
    folders = {
        "high_resolution_dir": "high_resolution",
        "low_resolution_dir": "low_resolution",
        "patches_dir": "work",
        "inference_result_dir": "work",
        "reconstructed_images_dir": "results",
    }
    dataset = Dataset(**{key: str(output / name) for key, name in folders.items()})
    return settings.model_copy(update={"dataset": dataset})


def _take_in(
    console: Console, files: list[Path], mode: Mode, settings: Settings, layout: Layout
) -> list[TakenIn]:
    taken = []
    with _bar(console) as bar:
        task = bar.add_task("take in", total=len(files), unit="images")
        for one in take_in(files, mode, settings.processing, layout):
            taken.append(one)
            bar.advance(task)
    return taken


def _process(
    console: Console,
    settings: Settings,
    layout: Layout,
    master: str | None,
    *,
    fused: bool,
    redo: bool,
) -> RunManifest:
    cores = os.cpu_count() or 1
    with _master(console, master, cores) as url:
        with console.status("Starting the Spark session …"):
            session = get_session(f"superres {layout.run_id}", settings, local_conf(url))
        try:
            with _bar(console) as bar:
                show = _show_in(bar)
                return run_jobs(session, settings, layout, fused=fused, redo=redo, show=show)
        finally:
            session.stop()


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


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _show_in(bar: Progress) -> Show:
    tasks: dict[str, TaskID] = {}

    def show(shown: Shown) -> None:
        if shown.stage not in tasks:
            tasks[shown.stage] = bar.add_task(shown.stage, total=shown.total, unit=shown.unit)
        bar.update(tasks[shown.stage], completed=shown.done)

    return show


def _tell(
    console: Console, taken: list[TakenIn], manifest: RunManifest, layout: Layout, seconds: float
) -> None:
    evaluations: list[tuple[TakenIn, Evaluation]] = []
    for one in taken:
        uri = layout.evaluation(one.image_id)
        if storage.exists(uri):
            content = storage.read_bytes(uri)
            evaluations.append((one, Evaluation.from_json(content, uri)))
    print_table(console, evaluations)
    for one in taken:
        uri = layout.rejection(one.image_id)
        if storage.exists(uri):
            record = RejectedImage.from_json(storage.read_bytes(uri), uri)
            console.print(f"[yellow]rejected[/] {escape(one.path.name)}: {escape(record.reason)}")
    steps = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in manifest.seconds.items())
    console.print(f"Spark took {seconds:.0f} s: {steps}")
    new = manifest.counts["evaluate_images"]
    if new < len(evaluations):
        done = len(evaluations) - new
        console.print(f"{done} of them had been finished before; --redo does them again")
    console.print(f"Results  {layout.dataset.reconstructed_images_dir}", soft_wrap=True)
    picture = result_picture(evaluations, layout)
    if picture:
        console.print(f"Picture  {picture}", soft_wrap=True)

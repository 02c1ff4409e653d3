"""``superres run``: all jobs on one machine, from images to results and figures."""

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, TaskID, TextColumn

from jobs.follow import follow_images
from jobs.import_folder import find_images, import_images
from jobs.job import print_left_out
from jobs.local_session import EndingSignals, local_session
from jobs.progress import OnProgress, StageProgress
from jobs.report import print_report
from jobs.runner import run_jobs
from jobs.selection import stored_images
from jobs.session import SPARK_ERRORS, one_line_reason
from superres.cli.execution import exit_code
from superres.cli.laying_out import lay_out
from superres.cli.options import config_option, config_or_default, scale_option
from superres.cli.terminal import progress_bar
from superres.errors import ConfigError, SuperresError
from superres.network.precision import decided_recipe
from superres.pipeline import storage
from superres.pipeline.collecting import collect
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.layout import Layout, dataset_in, layout_on
from superres.pipeline.records import Mode, Scale


@click.command(epilog="Example: superres run --input holiday/ --scale 4")
@click.option(
    "--input",
    "source",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Image or folder of images to import first.  [default: what ingestion has stored]",
)
@scale_option("configured")
@click.option(
    "--mode",
    type=click.Choice(["evaluate", "upscale"]),
    help="What --input contains. evaluate: originals, which are reduced, upscaled and then used to "
    "measure the results. upscale: images to upscale.  [default: configured]",
)
@click.option(
    "--ingest-date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Day (UTC) on which the images were requested.  [default: today]",
)
@click.option("--fused", is_flag=True, help="Run one Spark stage instead of three jobs.")
@click.option("--redo", is_flag=True, help="Process finished and rejected images again.")
@click.option("--follow", is_flag=True, help="Keep processing new images until Ctrl-C.")
@click.option(
    "--master",
    metavar="URL",
    help="Spark master, such as spark://host:7077 or local[2].  [default: start one]",
)
@click.option(
    "--output", metavar="DIR", help="Folder or s3:// prefix for all data.  [default: configured]"
)
@click.option(
    "--collect",
    "location",
    metavar="DEST",
    help="Also lay the results out here, named as their images were: a folder, an s3:// prefix or "
    "a .zip file.",
)
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
    location: str | None,
    config: str | None,
) -> None:
    """Upscale images on Spark: split, infer, reconstruct, evaluate.

    Processes the images that ingestion has stored (`superres ingest`), or those of --input. A Spark
    master and worker are started for the run and stopped after it, unless --master names one.
    Images that cannot be processed are reported as rejected; the rest are upscaled.
    """
    # py4j logs tracebacks of failures that are reported in one line below, and of Ctrl-C.
    logging.disable(logging.CRITICAL)
    signals = EndingSignals()
    console = Console(stderr=True, highlight=False)
    settings = load_settings(config_or_default(config))
    if output is not None:
        settings = settings.model_copy(update={"dataset": dataset_in(output)})
    if follow and (source or ingest_date or redo or location):
        raise click.UsageError(
            "--follow cannot be combined with --input, --ingest-date, --redo or --collect"
        )
    day = ingest_date.date() if ingest_date else datetime.now(UTC).date()
    factor = scale or settings.processing.upscale_factor
    layout = layout_on(settings.dataset, day, factor, decided_recipe(settings, factor))
    layout = layout.started(datetime.now(UTC))
    ids = [] if follow else _image_ids(source, mode, settings, layout)
    started = time.monotonic()
    try:
        with local_session(console, settings, layout, master) as session:
            if follow:
                follow_images(session, settings, [scale] if scale else [2, 3, 4])
                return
            with _bar() as bar:
                manifest = run_jobs(
                    session, settings, layout, fused=fused, redo=redo, on_progress=_show_in(bar)
                )
    except SPARK_ERRORS as error:
        signals.raise_if_received()
        raise SuperresError(f"the Spark run failed: {one_line_reason(error)}") from None
    seconds = time.monotonic() - started
    place = layout.dataset.reconstructed_images_dir
    if location is not None:
        place = storage.absolute(location)
        # Ingestion has rejected images that were never stored.
        among = None if source is None else frozenset(ids)
        lay_out({layout.scale: collect(layout, among)}, location)
    finished, rejected = print_report(console, ids, manifest, layout, seconds, place)
    click.get_current_context().exit(exit_code(finished, rejected))


def _image_ids(
    source: Path | None, mode: Mode | None, settings: Settings, layout: Layout
) -> list[str]:
    """The images to report on: those of ``source``, which are stored first, or all of the day."""
    if source is not None:
        files, remarks = find_images(source)
        for remark in remarks:
            click.echo(f"superres: {remark}", err=True)
        if not files:
            raise ConfigError(f"{source}: nothing is left to process; give other images")
        mode = mode or settings.ingestion.mode
        with _bar() as bar:
            task = bar.add_task("import", total=len(files), unit="images")
            ids = []
            folder = source if source.is_dir() else None
            for imported in import_images(files, mode, settings.processing, layout, folder):
                ids.append(imported.image_id)
                bar.advance(task)
        return ids
    stored = stored_images(layout)
    print_left_out(stored.left_out)
    if not stored.images:
        raise ConfigError(
            f"{layout.low_resolution}: no images there; store some with `superres ingest` or "
            "give --input"
        )
    return [image.image_id for image in stored.images]


def _bar() -> Progress:
    return progress_bar(TextColumn("{task.completed:.0f} of {task.total:.0f} {task.fields[unit]}"))


def _show_in(bar: Progress) -> OnProgress:
    """Shows each stage as a task of the bar."""
    tasks: dict[str, TaskID] = {}

    def show(now: StageProgress) -> None:
        if now.stage not in tasks:
            tasks[now.stage] = bar.add_task(now.stage, total=now.total, unit=now.unit)
        bar.update(tasks[now.stage], completed=now.done)

    return show

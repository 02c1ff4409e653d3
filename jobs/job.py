"""What the five spark-submit files share: options, session, one JSON line, exit codes."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pkgutil import resolve_name

from pyspark.sql import SparkSession

from jobs.gpu_wait import gpu_within
from jobs.owners import new_owner
from jobs.progress import Progress, StageProgress, watching
from jobs.selection import LeftOut
from jobs.session import SPARK_ERRORS, get_session, one_line_reason
from superres.errors import SuperresError
from superres.models import SCALES
from superres.network.precision import decided_recipe
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.layout import Layout, layout_of


@dataclass(frozen=True)
class Run:
    """What a job works with."""

    session: SparkSession
    settings: Settings
    layout: Layout
    progress: Progress
    redo: bool = False
    table: str | None = None  # written by the previous job; None: its newest complete one
    owner: str = field(default_factory=new_owner)  # of the tables that the job writes


@dataclass(frozen=True)
class JobReport:
    """What a job counted, and the table it wrote for the next job, if any.

    ``models`` are the networks that made the images it counted: file names by digest.
    """

    counts: dict[str, int]
    table: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)


Job = Callable[[Run], JobReport]


def job_main(name: str, job: str, *, takes_redo: bool = False) -> None:
    """Entry point of a spark-submit file: runs the job, prints one JSON line, exits 0, 1 or 2.

    ``job`` names a ``Job`` as ``package.module:function``. ``takes_redo`` adds the option --redo,
    for the jobs that select images.
    """
    # py4j logs a Java traceback before the exception that we turn into one line.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    arguments = _parser(name, takes_redo=takes_redo).parse_args()
    started = time.monotonic()
    try:
        settings = load_settings(arguments.config)
        layout = layout_of(
            settings.dataset,
            arguments.run_id,
            arguments.scale,
            arguments.ingest_date,
            arguments.start_id,
        )
        layout = layout.with_recipe(decided_recipe(settings, layout.scale))
        session = get_session(f"superres {name} {layout.run_id}", settings)
        context, patience = session.sparkContext, settings.processing.gpu_wait_seconds
        with watching(context, _log_progress()) as progress, gpu_within(context, patience):
            run = Run(session, settings, layout, progress, takes_redo and arguments.redo)
            report = resolve_name(job)(run)
        session.stop()
        line: dict[str, object] = {"job": name, "run_id": layout.run_id}
        line |= {"recipe": layout.recipe.key} if layout.recipe.key else {}
        line |= report.counts
        line["seconds"] = round(time.monotonic() - started, 3)
        if arguments.report is not None:
            storage.write_bytes(arguments.report, json.dumps(line).encode())
    except SuperresError as error:
        sys.exit(f"{name}: {error}")
    except SPARK_ERRORS as error:
        sys.exit(f"{name}: {one_line_reason(error)}")
    print(json.dumps(line), flush=True)


def _parser(name: str, *, takes_redo: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{name}.py")
    option = parser.add_argument
    option("--config", required=True, help="YAML file: a path or an s3:// URI")
    option("--run-id", required=True, help="run to process, as in 2026-01-31-x2")
    option("--scale", type=int, choices=SCALES, help="required if the run id does not contain it")
    option(
        "--ingest-date",
        type=date.fromisoformat,
        metavar="YYYY-MM-DD",
        help="required if the run id does not contain it",
    )
    option(
        "--start-id",
        help="names this start of the run in its manifest and records, as in "
        "2026-01-31-x2-20260201T020000Z; the same for all jobs of the start",
    )
    option("--report", help="also write the printed line here: a path or an s3:// URI")
    if takes_redo:
        option(
            "--redo",
            action="store_true",
            help="process finished and rejected images again",
        )
    return parser


def _log_progress() -> Callable[[StageProgress], None]:
    """Logs progress to standard error, at most one line in ten seconds."""
    last = 0.0

    def log(now: StageProgress) -> None:
        nonlocal last
        if now.done == now.total or time.monotonic() - last > 10:
            last = time.monotonic()
            print(f"{now.stage}: {now.done}/{now.total} {now.unit}", file=sys.stderr)

    return log


def print_left_out(files: Iterable[LeftOut]) -> None:
    """Prints a line on standard error for each file, once in this process."""
    for file in files:
        _print_once(str(file))


@cache
def _print_once(line: str) -> None:
    print(line, file=sys.stderr)

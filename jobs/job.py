"""What the five spark-submit files share: options, session, one JSON line, exit codes."""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pkgutil import resolve_name

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.progress import Progress, Shown, watching
from jobs.session import get_session, one_line_reason
from superres.errors import SuperresError
from superres.models import SCALES
from superres.pipeline import storage
from superres.pipeline.config import Settings, load_settings
from superres.pipeline.layout import Layout, layout_of


@dataclass(frozen=True)
class Run:
    """All that a job needs to know."""

    session: SparkSession
    settings: Settings
    layout: Layout
    progress: Progress
    redo: bool = False
    table: str | None = None  # the previous job's, where that is known; else its newest


@dataclass(frozen=True)
class JobReport:
    """What a job counted, and the table it wrote for the next one, if any."""

    counts: dict[str, int]
    table: str | None = None


Job = Callable[[Run], JobReport]


def job_main(name: str, job: str, *, takes_redo: bool = False) -> None:
    """Entry point of a spark-submit file: runs the job, prints one JSON line, exits 0, 1 or 2.

    ``job`` is a ``Job`` named as ``package.module:function``; ``takes_redo`` is for those that
    choose the images.
    """
    # py4j logs a Java traceback before the exception that we turn into one line.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    arguments = _parser(name, takes_redo=takes_redo).parse_args()
    started = time.monotonic()
    try:
        settings = load_settings(arguments.config)
        layout = layout_of(
            settings.dataset, arguments.run_id, arguments.scale, arguments.ingest_date
        )
        session = get_session(f"superres {name} {layout.run_id}", settings)
        with watching(session.sparkContext, _log_progress()) as progress:
            run = Run(session, settings, layout, progress, takes_redo and arguments.redo)
            report = resolve_name(job)(run)
        session.stop()
        line = {"job": name, "run_id": layout.run_id, **report.counts}
        line["seconds"] = round(time.monotonic() - started, 3)
        if arguments.report is not None:
            storage.write_bytes(arguments.report, json.dumps(line).encode())
    except SuperresError as error:
        sys.exit(f"{name}: {error}")
    except (PySparkException, Py4JError) as error:
        sys.exit(f"{name}: {one_line_reason(error)}")
    print(json.dumps(line), flush=True)


def _parser(name: str, *, takes_redo: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"{name}.py")
    parser.add_argument("--config", required=True, help="config.yaml: a path or an s3:// URI")
    parser.add_argument("--run-id", required=True, help="as in 2026-01-31-x2")
    parser.add_argument("--scale", type=int, choices=SCALES, help="if run_id does not name it")
    parser.add_argument("--ingest-date", type=date.fromisoformat, help="if run_id does not name it")
    told = "where the line that is printed is written too: a path or an s3:// URI"
    parser.add_argument("--report", help=told)
    if takes_redo:
        told = "take finished and rejected images too: forget that they are"
        parser.add_argument("--redo", action="store_true", help=told)
    return parser


def _log_progress() -> Callable[[Shown], None]:
    """Progress as log lines, at most one in ten seconds: what a step's stderr is read for."""
    last = 0.0

    def log(shown: Shown) -> None:
        nonlocal last
        if shown.done == shown.total or time.monotonic() - last > 10:
            last = time.monotonic()
            print(f"{shown.stage}: {shown.done}/{shown.total} {shown.unit}", file=sys.stderr)

    return log

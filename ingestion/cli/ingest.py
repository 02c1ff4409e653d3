"""``superres ingest``: producer and consumer in one process, until every image is stored.

Without a broker (``kafka.enabled``), it does the same with the consumer's handler alone.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import click
from rich.progress import Progress

from ingestion.cli.shared import opened_source, settings_and_wanted, show_failures, stop_by_signal
from ingestion.consumer.service import consume as run_consumer
from ingestion.direct.ingesting import ingest_directly
from ingestion.producer import Pace, Published, publish
from ingestion.sources.opening import expanded
from ingestion.sources.samples import SampleSource
from ingestion.sources.source import Source
from ingestion.topics import group_from_now, require_topics
from superres.cli.execution import exit_code
from superres.cli.options import config_option, mode_option, scale_option
from superres.cli.terminal import print_message, progress_bar
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.service.logs import log_for_people


@click.command(epilog="Example: superres ingest samples: && superres run")
@click.argument("source")
@click.option("--limit", type=click.IntRange(1), help="Maximum number of references.")
@mode_option
@scale_option("configured")
@config_option
def ingest(source: str, limit: int | None, **given: Any) -> None:
    """Fetch and store every image of a source: produce and consume in one process.

    SOURCE is as for produce, or samples: for the photographs in scikit-image. Exits with 3 when
    some images failed and the others are stored, with 1 when none is stored.
    """
    settings, wanted = settings_and_wanted(**given)
    log_for_people()
    stop = stop_by_signal()
    if settings.kafka.enabled:
        require_topics(settings.kafka)
    with opened_source(source, wanted, settings, stop) as found, progress_bar() as bar:
        if isinstance(found, SampleSource):
            settings = _allowing(settings, "allowed_hosts", found.allowed_host)
        elif storage.is_s3(source):  # naming it on the command line allows it
            settings = _allowing(settings, "s3_buckets", storage.bucket_of(source))
        elif Path(expanded(source)).exists():
            settings = _allowing(settings, "file_roots", expanded(source))
        if settings.kafka.enabled:
            settings = _apart_from_services(settings)
            published, stored, rejected = _produce_and_consume(found, limit, settings, stop, bar)
        else:
            published, stored, rejected = _store_directly(found, limit, settings, stop, bar)
        show_failures(published, lambda line: print_message(bar, line))
    rejections = f", {rejected} rejected: see rejected/ below the results" if rejected else ""
    click.echo(f"{stored} images stored{rejections}")
    if stop.is_set():
        click.get_current_context().exit(stop.exit_code)
    click.get_current_context().exit(exit_code(stored, rejected + published.failed))


def _allowing(settings: Settings, key: str, more: str) -> Settings:
    allowed = (*getattr(settings.ingestion, key), more)
    ingestion = settings.ingestion.model_copy(update={key: allowed})
    return settings.model_copy(update={"ingestion": ingestion})


def _apart_from_services(settings: Settings) -> Settings:
    """A new group and any free port, because a running consumer may use the configured ones."""
    ingestion = settings.ingestion.model_copy(update={"consumer_port": 0})
    kafka = group_from_now(settings.kafka)
    return settings.model_copy(update={"ingestion": ingestion, "kafka": kafka})


def _store_directly(
    source: Source[Any], limit: int | None, settings: Settings, stop: Event, bar: Progress
) -> tuple[Published, int, int]:
    """The same as ``_produce_and_consume``, without a broker."""
    task = bar.add_task("Ingesting", total=None)
    return ingest_directly(
        source,
        settings,
        limit,
        stop,
        lambda finished, total: bar.update(task, completed=finished, total=total),
    )


def _produce_and_consume(
    source: Source[Any], limit: int | None, settings: Settings, stop: Event, bar: Progress
) -> tuple[Published, int, int]:
    """Returns what was published, and how many images were stored and rejected."""
    task = bar.add_task("Ingesting", total=None)
    listed, last_sent = Event(), Event()
    with ThreadPoolExecutor(1, "consumer") as thread:
        consuming = thread.submit(
            run_consumer,
            settings,
            stop,
            last_sent=last_sent,
            on_progress=lambda finished: bar.update(task, completed=finished),
            own_only=True,
        )

        def show_total(so_far: Published) -> None:
            bar.update(task, total=so_far.references)
            if consuming.done() or stop.is_set():
                listed.set()

        try:
            published = publish(
                source,
                settings.kafka,
                settings.ingestion.threads,
                listed,
                Pace(limit),
                show_total,
                settings.kafka.group,
            )
        finally:
            last_sent.set()
        return published, *consuming.result()

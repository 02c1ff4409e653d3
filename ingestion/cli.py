"""The commands of ingestion: produce, consume, both in one process, and uploads."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import click
from rich.progress import Progress, TaskID

from ingestion.producer import Pace, Published, publish
from ingestion.references import Wanted
from ingestion.service import consume as run_consumer
from ingestion.sources.base import Source
from ingestion.sources.opening import expanded, open_source
from ingestion.sources.samples import SamplePhotographs
from ingestion.topics import group_from_now, require_topics
from superres.commands import INTERRUPTED
from superres.config import Settings, load_settings
from superres.guard import Client
from superres.logs import log_as_json, log_for_people
from superres.options import config_option, config_or_default, scale_option
from superres.records import Mode, Scale
from superres.terminal import progress_bar, remark

PARTLY = 3


@click.command(epilog="Example: superres produce picsum:1024x768 --limit 500 --rate 20")
@click.argument("source")
@click.option("--limit", type=click.IntRange(1), help="Publish at most so many references.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="At most so many a second.")
@click.option("--follow", is_flag=True, help="Go on with what comes new, until stopped.")
@click.option("--mode", type=click.Choice(["evaluate", "upscale"]), help="[default: configured]")
@scale_option("Times as large.  [default: configured]")
@config_option
def produce(source: str, limit: int | None, rate: float | None, follow: bool, **given: Any) -> None:
    """Publish references to the images of a source on Kafka.

    SOURCE is picsum: or picsum:1024x768, a folder, s3://bucket/prefix, a file of URLs (.txt,
    .jsonl, or - for standard input), or one URL.
    """
    settings, wanted = _settled(**given)
    stop = _stop_by_signal()
    require_topics(settings.kafka)
    with _opened(source, wanted, settings, stop, follow=follow) as found, progress_bar() as bar:
        task = bar.add_task("Publishing", total=limit)
        published = publish(
            found,
            settings.kafka,
            settings.ingestion.threads,
            stop,
            Pace(limit, rate),
            lambda so_far: bar.update(task, completed=so_far.references),
        )
        _complain(published, lambda line: remark(bar, line))
    click.echo(f"{published.acknowledged} references published on {settings.kafka.topic}")
    if published.failed:
        click.get_current_context().exit(1)


@click.command(epilog="Example: superres consume --config config.yaml")
@click.option("--until-idle", is_flag=True, help="Stop when every message is finished.")
@config_option
def consume(until_idle: bool, config: str | None) -> None:
    """Fetch and store the images that references on Kafka point at, until stopped.

    Logs are JSON lines on standard error; metrics and health are served on
    ingestion.consumer_port.
    """
    log_as_json()
    last_sent = Event()
    last_sent.set()
    stored, rejected = run_consumer(
        load_settings(config_or_default(config)),
        _stop_by_signal(),
        last_sent=last_sent if until_idle else None,
    )
    click.echo(f"{stored} images stored, {rejected} rejected")


@click.command(epilog="Example: superres ingest samples: && superres run")
@click.argument("source")
@click.option("--limit", type=click.IntRange(1), help="Take at most so many images.")
@click.option("--mode", type=click.Choice(["evaluate", "upscale"]), help="[default: configured]")
@scale_option("Times as large.  [default: configured]")
@config_option
def ingest(source: str, limit: int | None, **given: Any) -> None:
    """Produce and consume in one process, until every image of a source is stored.

    SOURCE is as for produce, or samples: for the photographs that come with scikit-image. Exits
    with 3 when some images were left out and the others are stored, with 1 when none is.
    """
    settings, wanted = _settled(**given)
    log_for_people()
    stop = _stop_by_signal()
    require_topics(settings.kafka)
    with _opened(source, wanted, settings, stop) as found, progress_bar() as bar:
        if isinstance(found, SamplePhotographs):
            settings = _allowing(settings, "allowed_hosts", found.allowed_host)
        elif Path(expanded(source)).exists():  # whoever names it here may read it
            settings = _allowing(settings, "file_roots", expanded(source))
        settings = _beside_services(settings)
        task = bar.add_task("Bringing in", total=None)
        listed, last_sent = Event(), Event()
        with ThreadPoolExecutor(1, "consumer") as beside:
            consuming = beside.submit(
                run_consumer,
                settings,
                stop,
                last_sent=last_sent,
                told=lambda done: bar.update(task, completed=done),
                own_only=True,
            )
            try:
                published = publish(
                    found,
                    settings.kafka,
                    settings.ingestion.threads,
                    listed,
                    Pace(limit),
                    lambda so_far: _follow_up(so_far, bar, task, consuming, stop, listed),
                    settings.kafka.group,
                )
            finally:
                last_sent.set()
            stored, rejected = consuming.result()
        _complain(published, lambda line: remark(bar, line))
    told = f", {rejected} rejected: see rejected/ below the results" if rejected else ""
    click.echo(f"{stored} images brought in{told}")
    if stop.is_set():
        click.get_current_context().exit(INTERRUPTED)
    if rejected or published.failed:
        click.get_current_context().exit(PARTLY if stored else 1)


def _settled(config: str | None, mode: Mode | None, scale: Scale | None) -> tuple[Settings, Wanted]:
    settings = load_settings(config_or_default(config))
    chosen = scale or settings.processing.upscale_factor
    return settings, Wanted(mode or settings.ingestion.mode, chosen)


def _allowing(settings: Settings, key: str, more: str) -> Settings:
    allowed = (*getattr(settings.ingestion, key), more)
    ingestion = settings.ingestion.model_copy(update={key: allowed})
    return settings.model_copy(update={"ingestion": ingestion})


def _beside_services(settings: Settings) -> Settings:
    """A group of its own and any free port: the usual ones may be a service's."""
    ingestion = settings.ingestion.model_copy(update={"consumer_port": 0})
    kafka = group_from_now(settings.kafka)
    return settings.model_copy(update={"ingestion": ingestion, "kafka": kafka})


def _stop_by_signal() -> Event:
    """An event that SIGTERM, SIGHUP and the first Ctrl-C set: what is begun is then finished."""
    stop = Event()

    def receive(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)  # whoever insists is obeyed

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, receive)
    return stop


@contextmanager
def _opened(
    uri: str, wanted: Wanted, settings: Settings, stop: Event, *, follow: bool = False
) -> Iterator[Source[Any]]:
    """The source, and what it needs as long as it is used."""
    ingestion = settings.ingestion
    hosts = {*ingestion.allowed_hosts, urlsplit(ingestion.picsum_url).netloc}
    with closing(Client(hosts, ingestion.threads)) as client:
        source = open_source(uri, wanted, settings, client, follow=follow, stop=stop)
        with source if isinstance(source, SamplePhotographs) else nullcontext():
            yield source


def _follow_up(
    published: Published,
    bar: Progress,
    task: TaskID,
    consuming: "Future[tuple[int, int]]",
    stop: Event,
    listed: Event,
) -> None:
    """Shows how much there is to bring in; ends the listing when nothing takes it any more."""
    bar.update(task, total=published.references)
    if consuming.done() or stop.is_set():
        listed.set()


def _complain(published: Published, remark: Callable[[str], None]) -> None:
    for line in published.failures:
        remark(f"superres: {line}")
    more = published.failed - len(published.failures)
    if more > 0:
        remark(f"superres: and {more} more that could not be published")

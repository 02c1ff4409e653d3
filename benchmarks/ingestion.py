"""Images per second through Kafka, against a plain download loop, and memory over many references.

    .venv/bin/python benchmarks/ingestion.py                 # a local folder
    .venv/bin/python benchmarks/ingestion.py --bucket NAME  # S3, at AWS_ENDPOINT_URL if set
    .venv/bin/python benchmarks/ingestion.py --memory        # 1,000 references, then 100,000

Both ways fetch the same images from one HTTP server (another process) with the same number of
threads. They take turns and are timed from the tenth image to the last, without their start. The
plain loop only fetches and stores: no Kafka, no check, no record beside the image. Needs a broker
(`make kafka-up`); each run uses topics of its own.
"""

import sys

if not __package__:
    sys.path.pop(0)  # run as a script, this file would hide the package that it measures

import json
import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import click
import psutil
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from rich.console import Console

from benchmarks.cluster import settings_in
from benchmarks.mosaics import write_mosaics
from ingestion.consumer.fetching import fetcher_of
from ingestion.consumer.service import consume
from ingestion.producer import publish
from ingestion.references import Wanted
from ingestion.sources.opening import open_source
from superres.pipeline import storage
from superres.pipeline.config import Processing, Settings
from superres.redaction import SecretUrl
from superres.service.logs import log_for_people
from superres.service.public_http import Client

BAR = 0.8
MEMORY_BAR = 1.3
_SKIPPED = 10


@dataclass
class Clock:
    """Moments at which images were finished."""

    moments: list[float] = field(default_factory=list)

    def tick(self, _: object = None) -> None:
        """An image is finished."""
        self.moments.append(time.perf_counter())

    @property
    def rate(self) -> float:
        """Images per second, from the tenth to the last."""
        counted = self.moments[_SKIPPED:]
        return (len(counted) - 1) / (counted[-1] - counted[0])


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serves a folder over HTTP on 127.0.0.1 from another process; yields ``host:port``."""
    command = [sys.executable, "-m", "benchmarks.file_server", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()


@contextmanager
def own_topics(settings: Settings) -> Iterator[Settings]:
    """The settings with new topics and a new group, deleted at the end."""
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    topics = [name, f"{name}-dead-letter"]
    admin = AdminClient({"bootstrap.servers": settings.kafka.bootstrap_servers})
    for future in admin.create_topics([NewTopic(topic, 3, 1) for topic in topics]).values():
        future.result(20)
    kafka = settings.kafka.model_copy(
        update={"topic": topics[0], "dead_letter_topic": topics[1], "group": name}
    )
    try:
        yield settings.model_copy(update={"kafka": kafka})
    finally:
        for future in admin.delete_topics(topics).values():
            future.result(20)


def through_kafka(settings: Settings, listing: Path, clients: Client) -> float:
    """Publishes the list first, so that only consuming is timed."""
    with own_topics(settings) as ours:
        wanted = Wanted("upscale", 2)
        source = open_source(str(listing), wanted, ours, clients, stop=Event())
        published = publish(source, ours.kafka, 4, Event())
        last_sent, clock = Event(), Clock()
        last_sent.set()
        stored, rejected = consume(ours, Event(), last_sent=last_sent, on_progress=clock.tick)
        if rejected or stored != published.acknowledged:
            raise click.ClickException(f"{stored} stored, {rejected} rejected")
        return clock.rate


def plainly(settings: Settings, urls: list[str], clients: Client) -> float:
    """A pool of threads that fetches and stores."""
    fetcher, clock = fetcher_of(settings, clients), Clock()
    target = storage.join(settings.dataset.low_resolution_dir, "plain")

    def fetch(url: str) -> None:
        with fetcher.fetched(SecretUrl(url)) as content:
            assert isinstance(content, bytes)
            storage.write_bytes(storage.join(target, url.rsplit("/", 1)[-1]), content)

    with ThreadPoolExecutor(settings.ingestion.threads) as pool:
        for _ in pool.map(fetch, urls):
            clock.tick()
    return clock.rate


def peak_memory(settings: Settings, listing: Path, count: int, url: str) -> float:
    """The peak memory in MiB of a consumer process for ``count`` references to one URL."""
    with listing.open("w") as stream:
        stream.writelines(f"{url}?{number}\n" for number in range(count))
    with own_topics(settings) as ours:
        with closing(Client()) as clients:
            source = open_source(str(listing), Wanted("upscale", 2), ours, clients, stop=Event())
            publish(source, ours.kafka, 4, Event())
        config = listing.with_suffix(".yaml")
        config.write_text(json.dumps(ours.model_dump(mode="json")))
        command = [str(Path(sys.executable).with_name("superres")), "consume", "--until-idle"]
        peak = 0.0
        with subprocess.Popen(
            [*command, "--config", str(config)], stderr=subprocess.DEVNULL
        ) as process:
            watched = psutil.Process(process.pid)
            while process.poll() is None:
                try:
                    peak = max(peak, watched.memory_info().rss / 2**20)
                except psutil.NoSuchProcess:
                    break
                time.sleep(0.2)
        if process.returncode:
            raise click.ClickException(f"the consumer ended with {process.returncode}")
    return peak


@click.command()
@click.option("--images", default=300, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--threads", default=8, show_default=True)
@click.option("--bucket", help="Store in this S3 bucket; the AWS_* environment applies.")
@click.option("--memory", is_flag=True, help="Measure memory instead of speed.")
@click.option("--bootstrap", default="127.0.0.1:9092", show_default=True)
def main(
    images: int, rounds: int, threads: int, bucket: str | None, memory: bool, bootstrap: str
) -> None:
    """Measures ingestion in upscale mode."""
    console, folder = Console(), Path(tempfile.mkdtemp(prefix="superres-ingestion-"))
    log_for_people()
    try:
        count, size = (1, (160, 120)) if memory else (images, (960, 540))
        write_mosaics(folder / "images", count, *size)
        files = sorted((folder / "images").iterdir())
        with serving(folder / "images") as host:
            settings = _settings(folder, bucket, host, threads, bootstrap)
            if memory:
                _measure_memory(console, settings, folder, f"http://{host}/{files[0].name}")
            else:
                urls = [f"http://{host}/{file.name}" for file in files]
                _measure_rate(console, settings, folder, urls, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(
    folder: Path, bucket: str | None, host: str, threads: int, bootstrap: str
) -> Settings:
    settings = settings_in(folder, Processing())
    ingestion = settings.ingestion.model_copy(
        update={
            "allowed_hosts": (host,),
            "threads": threads,
            "consumer_port": 0,
            "uploads_dir": str(folder / "uploads"),
        }
    )
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": bootstrap})
    dataset = settings.dataset
    if bucket:
        low = f"s3://{bucket}/benchmark-{uuid.uuid4().hex[:8]}"
        dataset = dataset.model_copy(update={"low_resolution_dir": low})
    return settings.model_copy(update={"ingestion": ingestion, "kafka": kafka, "dataset": dataset})


def _measure_rate(
    console: Console, settings: Settings, folder: Path, urls: list[str], rounds: int
) -> None:
    listing = folder / "urls.txt"
    listing.write_text("".join(f"{url}\n" for url in urls))
    with closing(Client(settings.ingestion.allowed_hosts, settings.ingestion.threads)) as clients:
        ours, theirs = [], []
        for number in range(rounds + 1):
            pair: list[Callable[[], None]] = [
                lambda: ours.append(through_kafka(settings, listing, clients)),
                lambda: theirs.append(plainly(settings, urls, clients)),
            ]
            for way in pair if number % 2 else reversed(pair):
                storage.delete_tree(settings.dataset.low_resolution_dir)
                way()
            if number == 0:  # the first round warms everything up
                ours.clear()
                theirs.clear()
                continue
            console.print(f"round {number}: Kafka {ours[-1]:.1f}, plain loop {theirs[-1]:.1f} / s")
    storage.delete_tree(settings.dataset.low_resolution_dir)
    ratios = [mine / its for mine, its in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    console.print(
        f"Through Kafka {statistics.median(ours):.1f} images/s, plain loop "
        f"{statistics.median(theirs):.1f}; ratio {ratio:.2f} ({min(ratios):.2f}–"
        f"{max(ratios):.2f}), bar {BAR}: {'met' if ratio >= BAR else 'MISSED'}"
    )


def _measure_memory(console: Console, settings: Settings, folder: Path, url: str) -> None:
    peaks = {
        count: peak_memory(settings, folder / f"urls-{count}.txt", count, url)
        for count in (1_000, 100_000)
    }
    ratio = peaks[100_000] / peaks[1_000]
    figures = ", ".join(f"{count:,} references: {peak:.0f} MiB" for count, peak in peaks.items())
    verdict = "met" if ratio <= MEMORY_BAR else "MISSED"
    console.print(
        f"Peak of the consumer: {figures}; ratio {ratio:.2f}, bar {MEMORY_BAR}: {verdict}"
    )


if __name__ == "__main__":
    main()

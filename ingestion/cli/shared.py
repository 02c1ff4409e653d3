"""Settings, signals and sources for the commands of ingestion."""

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from ingestion.producer import Published
from ingestion.references import Wanted
from ingestion.sources.opening import open_source
from ingestion.sources.samples import SampleSource
from ingestion.sources.source import Source
from superres.cli.options import config_or_default
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.records import Mode, Scale
from superres.redaction import without_secrets
from superres.service.public_http import Client
from superres.service.signals import handle_ending


def settings_and_wanted(
    config: str | None, mode: Mode | None, scale: Scale | None
) -> tuple[Settings, Wanted]:
    """The configuration, and how the options say to process each image."""
    settings = load_settings(config_or_default(config))
    chosen = scale or settings.processing.upscale_factor
    return settings, Wanted(mode or settings.ingestion.mode, chosen)


class StopSignal(Event):
    """Set by a signal that asks the process to end."""

    exit_code = 0  # 128 and the number of the signal, once there was one

    def receive(self, number: int, _: object) -> None:
        """The handler of the signal."""
        self.exit_code = 128 + number
        self.set()
        signal.signal(number, signal.SIG_DFL)


def stop_by_signal() -> StopSignal:
    """An event that SIGTERM, SIGHUP and the first Ctrl-C set; a second signal ends the process."""
    stop = StopSignal()
    handle_ending(stop.receive)
    return stop


@contextmanager
def opened_source(
    uri: str, wanted: Wanted, settings: Settings, stop: Event, *, follow: bool = False
) -> Iterator[Source[Any]]:
    """The source that a URI names, with an HTTP client and, for samples, a server."""
    ingestion = settings.ingestion
    hosts = {*ingestion.allowed_hosts, urlsplit(ingestion.picsum_url).netloc}
    with closing(Client(hosts, ingestion.threads, stop)) as client:
        source = open_source(uri, wanted, settings, client, follow=follow, stop=stop)
        with source if isinstance(source, SampleSource) else nullcontext():
            yield source


def show_failures(published: Published, print_line: Callable[[str], None]) -> None:
    """Prints what was left out, and what could not be published, one per line."""
    for line in [*published.remarks, *published.failures]:
        print_line(f"superres: {without_secrets(line)}")
    more = published.failed - len(published.failures)
    if more > 0:
        print_line(f"superres: {more} more could not be published")

"""``superres notify``: serves the notifier with Gunicorn, listens for results, sends webhooks.

All of it runs in threads of one process. Several notifiers on one PostgreSQL share the work, and
each may die at any time.
"""

import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread

import click
from flask import Flask
from prometheus_client import CollectorRegistry, Gauge

from notifier.listening.reading import Reader
from notifier.listening.start import check_queues, start_listening
from notifier.pictures import Pictures
from notifier.store.database import Database, open_database
from notifier.store.readiness import unreadable_images, unreadable_rows
from notifier.web.app import create_app
from notifier.web.changes import Changes
from notifier.web.context import Service, Tokens
from notifier.web.security import check_exposure, is_exposed, tokens_from
from notifier.webhooks.sender import Sender
from superres.cli.options import config_option, config_or_default
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.service.health import Check, Kept
from superres.service.public_http import Client
from superres.service.server import Server, serve

_DRAIN_SECONDS = 15.0  # for requests to finish
_IMAGES_SECONDS = 60.0  # between two looks at all images
_ARENA_MAX = -8  # M_ARENA_MAX of <malloc.h>


@click.command(epilog="Example: superres notify --port 8080")
@click.option("--host", help="Address to listen on.  [default: configured]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port; 0 for any free one.  [default: configured]"
)
@config_option
def notify(host: str | None, port: int | None, config: str | None) -> None:
    """Serve the gallery and its REST API, and send webhooks, until stopped.

    Changes need the token in SUPERRES_NOTIFIER_TOKEN; reading needs it, too, where other machines
    can reach the notifier. Logs are JSON lines on standard error.
    """
    settings, tokens = load_settings(config_or_default(config)), tokens_from(os.environ)
    chosen = settings.notifier
    host, port = host or chosen.host, chosen.port if port is None else port
    check_exposure(host, chosen, tokens)
    check_queues(settings)
    # Reports an unreachable database at once, and creates the tables before the fork.
    open_database(chosen.database_url).close()
    server = Server(
        name="superres notify",
        host=host,
        port=port,
        page="/",
        threads=chosen.threads,
        drain_seconds=_DRAIN_SECONDS,
        behind_proxies=chosen.proxies > 0,
    )
    serve(lambda alive: _application(settings, tokens, host, alive), server)


def _application(settings: Settings, tokens: Tokens, host: str, alive: Callable[[], bool]) -> Flask:
    """Starts all threads, in the worker process."""
    _share_memory()
    chosen, registry, stop = settings.notifier, CollectorRegistry(), Event()
    database = open_database(chosen.database_url)
    changes = Changes(database, alive)
    changes.poll()
    changes.start()
    listening = start_listening(settings, database, stop, registry)
    Gauge(
        "superres_notifier_intake_failing",
        "Queues and storage locations that do not answer",
        registry=registry,
    ).set_function(lambda: len(listening.reader.failing))
    sender = Sender(database, chosen, Client(chosen.allowed_hosts, stop=stop), stop, registry)
    sender.start()
    Thread(target=_set_when_stopping, args=(alive, stop), name="stop", daemon=True).start()
    service = Service(
        settings,
        database,
        Pictures(Path(chosen.cache_dir) / "superres-pictures", chosen.cache_megabytes << 20),
        changes,
        tokens,
        private=is_exposed(host, chosen) and not chosen.public_gallery,
        registry=registry,
        ready=_readiness(database, changes, listening.reader),
    )
    return create_app(service, host)


def _readiness(database: Database, changes: Changes, reader: Reader) -> Check:
    """Whether pages can be shown, and new results found."""
    images = Kept(partial(unreadable_images, database), _IMAGES_SECONDS)

    def unready() -> str:
        return (
            changes.failing
            or unreadable_rows(database)
            or images()
            or "; ".join(reader.failing.copy().values())
        )

    return Kept(unready)


def _share_memory() -> None:
    """Limits malloc to two arenas: with one for every few threads, freed memory adds up to 1 GB."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").mallopt(_ARENA_MAX, 2)


def _set_when_stopping(alive: Callable[[], bool], stop: Event) -> None:
    """Polls, because Gunicorn's worker has no hook for the moment it is asked to stop."""
    while alive():
        time.sleep(0.2)
    stop.set()

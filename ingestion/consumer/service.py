"""Runs a consumer with its metrics and health server, in its own process or next to a producer."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from threading import Event
from time import monotonic

import structlog

from ingestion.consumer.consumer import ImageConsumer
from ingestion.consumer.dead_letters import DeadLetters
from ingestion.consumer.fetching import fetcher_of
from ingestion.consumer.handling import Handler
from ingestion.consumer.prometheus_metrics import new_metrics
from ingestion.topics import require_topics
from superres.pipeline.config import Settings
from superres.service.health import Kept, health_server
from superres.service.public_http import Client

_log = structlog.get_logger()
_STUCK_SECONDS = 60.0  # beyond the time that a drain may take


def consume(
    settings: Settings,
    stop: Event,
    *,
    last_sent: Event | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
    own_only: bool = False,
) -> tuple[int, int]:
    """Consumes until ``stop`` is set; returns how many images were stored, and how many rejected.

    The other arguments are those of ``ImageConsumer``.

    Raises ``PrerequisiteError`` when the broker does not answer or lacks a topic.
    """
    require_topics(settings.kafka)
    ingestion = settings.ingestion
    metrics, abandon = new_metrics(), Event()
    with (
        closing(Client(ingestion.allowed_hosts, ingestion.threads, abandon)) as client,
        DeadLetters(settings.kafka, abandon) as dead_letters,
    ):
        handler = Handler(settings, fetcher_of(settings, client), dead_letters, metrics, abandon)
        consumer = ImageConsumer(
            handler, stop, last_sent=last_sent, on_progress=on_progress, own_only=own_only
        )

        alive = partial(_alive, consumer, ingestion.drain_seconds + _STUCK_SECONDS)
        ready = Kept(partial(_ready, consumer, dead_letters))
        with health_server(ingestion.consumer_port, metrics.registry, alive, ready) as port:
            _log.info("consuming", topic=settings.kafka.topic, health=f"127.0.0.1:{port}")
            finished = consumer.run()
    stored, rejected = (
        int(metrics.registry.get_sample_value(f"superres_ingestion_{name}_total") or 0)
        for name in ("stored", "rejected")
    )
    _log.info("consumed", finished=finished, stored=stored, rejected=rejected)
    return stored, rejected


def _alive(consumer: ImageConsumer, max_idle_seconds: float) -> str:
    idle = monotonic() - consumer.polled_at
    stuck = idle > max_idle_seconds
    return f"the consumer has not polled for {idle:.0f} s" if stuck else ""


def _ready(consumer: ImageConsumer, dead_letters: DeadLetters) -> str:
    if consumer.storage_failing:
        return consumer.storage_failing
    return dead_letters.ready() if consumer.assigned else "no partitions assigned yet"

"""A consumer with all it needs around it, for a process of its own or beside a producer."""

from collections.abc import Callable
from contextlib import closing
from threading import Event
from time import monotonic

import structlog

from ingestion.consumer import ImageConsumer
from ingestion.dead_letters import DeadLetters
from ingestion.fetching import fetcher_of
from ingestion.handling import Handler
from ingestion.metrics import new_metrics
from ingestion.telemetry import health_server
from ingestion.topics import require_topics
from superres.config import Settings
from superres.guard import Client

_log = structlog.get_logger()
_STUCK_SECONDS = 60.0  # beyond the time that a drain may take


def consume(
    settings: Settings,
    stop: Event,
    *,
    last_sent: Event | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> tuple[int, int]:
    """Consumes until ``stop`` is set; returns how many messages ended well, and how many rejected.

    With ``last_sent``, also until that is set and everything sent is finished.

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
        consumer = ImageConsumer(handler, stop, last_sent=last_sent, told=told)

        def alive() -> str:
            silent = monotonic() - consumer.turned_at
            stuck = silent > ingestion.drain_seconds + _STUCK_SECONDS
            return f"the consumer has not polled for {silent:.0f} s" if stuck else ""

        def ready() -> str:
            if handler.storage_health.failing:
                return handler.storage_health.failing
            return "" if consumer.assigned else "no partitions yet"

        with health_server(ingestion.consumer_port, metrics.registry, alive, ready) as port:
            _log.info("consuming", topic=settings.kafka.topic, health=f"127.0.0.1:{port}")
            finished = consumer.run()
    rejected = int(metrics.registry.get_sample_value("superres_ingestion_rejected_total") or 0)
    _log.info("consumed", finished=finished, rejected=rejected)
    return finished - rejected, rejected

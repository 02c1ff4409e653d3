"""Events, subscriptions and deliveries, and a running sender."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from threading import Thread
from typing import Any
from unittest.mock import patch

from prometheus_client import CollectorRegistry
from sqlalchemy import select

from notifier.events import SUBSCRIBED_TYPES, Event
from notifier.store.database import Database
from notifier.store.subscriptions import create_subscription, subscription_of
from notifier.store.tables import Delivery, Subscription
from notifier.webhooks.outbox import enqueue
from notifier.webhooks.sender import Sender
from superres.pipeline.config import Notifier
from superres.service.public_http import Client

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
QUICK = Notifier(webhook_retry_seconds=0.01, webhook_seconds=5)


def event(number: int = 1, type_: Any = "image.finished") -> Event:
    return Event(type_, f"{number:032x}", NOW, {"image_id": f"{number:032x}", "ä": "→"})


def subscribe(database: Database, url: str = "https://example.org/hook", *types: str) -> str:
    with database.writing() as session:
        return create_subscription(session, url, types or SUBSCRIBED_TYPES, "", NOW).id


def enqueue_all(database: Database, *events: Event) -> None:
    with database.writing() as session:
        for each in events:
            enqueue(session, each)


def rows(database: Database) -> list[Delivery]:
    with database.reading() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def only_row(database: Database) -> Delivery:
    (row,) = rows(database)
    return row


def find(database: Database, name: str) -> Subscription:
    with database.reading() as session:
        found = subscription_of(session, name)
    assert found is not None
    return found


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def all_are(database: Database, state: str) -> bool:
    return all(row.state == state for row in rows(database))


@dataclass
class Running:
    """A running sender."""

    stop: Flag
    thread: Thread
    registry: CollectorRegistry = field(repr=False)

    def attempts(self, outcome: str) -> float:
        name = "superres_notifier_webhook_attempts_total"
        return self.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


@contextmanager
def sending(database: Database, allowed_host: str, settings: Notifier = QUICK) -> Iterator[Running]:
    stop, registry = Flag(), CollectorRegistry()
    client = Client([allowed_host], stop=stop)
    sender = Sender(database, settings, client, stop, registry)
    thread = Thread(target=sender.run)
    try:
        # Polls often, so that tests do not wait for deliveries that have just become due.
        with patch("notifier.webhooks.sender._POLL_SECONDS", 0.02):
            thread.start()
            yield Running(stop, thread, registry)
    finally:
        stop.set()
        thread.join(10)
        client.close()
        assert not thread.is_alive()

"""No webhook is lost when a sender is killed, or a receiver or the database is down."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event as Flag

import pytest
from sqlalchemy import func, select

from notifier.events import SUBSCRIBED_TYPES, Event
from notifier.store.database import Database, open_database
from notifier.store.subscriptions import create_subscription
from notifier.store.tables import Delivery
from notifier.webhooks.outbox import enqueue
from superres.errors import StorageError
from superres.service.supervisor import free_port
from tests.support.http_server import until
from tests.support.postgresql import Postgres
from tests.support.webhook_receiver import Receiver, Reply
from tests.support.webhooks import sending

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
PATIENCE = 20.0
PROCESS = """
import sys
from threading import Event
from prometheus_client import CollectorRegistry
from notifier.store.database import open_database
from notifier.webhooks.sender import Sender
from superres.pipeline.config import Notifier
from superres.service.public_http import Client
url, host = sys.argv[1:]
stop = Event()
settings = Notifier(webhook_seconds=0.5, webhook_retry_seconds=0.05)
client = Client([host], stop=stop)
Sender(open_database(url), settings, client, stop, CollectorRegistry()).run()
"""


def events(count: int) -> list[Event]:
    return [Event("image.finished", f"{each:032x}", NOW, {"n": each}) for each in range(count)]


def prepare(url: str, target: str, sent: list[Event]) -> tuple[Database, str]:
    """A database with pending events for one receiver, and the secret of its subscription."""
    database = open_database(url)
    with database.writing() as session:
        secret = create_subscription(session, target, SUBSCRIBED_TYPES, "", NOW).secret
        for each in sent:
            enqueue(session, each)
    return database, secret


def delivered(database: Database) -> int:
    chosen = select(func.count()).where(Delivery.state == "delivered")
    with database.reading() as session:
        return session.scalars(chosen).one()


@contextmanager
def process(url: str, receiver: Receiver) -> Iterator["subprocess.Popen[bytes]"]:
    started = subprocess.Popen(
        [sys.executable, "-c", PROCESS, url, receiver.host], stdout=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait(PATIENCE)


def kill_in_flight(url: str, receiver: Receiver, database: Database, *, answers: bool) -> None:
    """Kills a sender that waits for two responses, before the first or after some."""
    held, before = Flag(), len(receiver.requests())
    receiver.default["/hook"] = Reply(held=held)
    with process(url, receiver) as sender:
        until(lambda: len(receiver.requests()) == before + 2, PATIENCE)
        if answers:
            receiver.default["/hook"] = Reply()
            held.set()
            until(lambda: delivered(database) > 2, PATIENCE)
        sender.kill()
        sender.wait(PATIENCE)
    held.set()


@pytest.mark.slow
def test_no_event_is_lost_when_senders_are_killed(tmp_path):
    url, sent = f"sqlite:///{tmp_path}/notifier.db", events(120)
    with Receiver() as receiver:
        database, secret = prepare(url, receiver.url(), sent)
        kill_in_flight(url, receiver, database, answers=False)
        unanswered = {each.message_id for each in receiver.requests()}
        assert delivered(database) == 0
        kill_in_flight(url, receiver, database, answers=True)
        done, before = delivered(database), len(receiver.requests())
        assert 0 < done < len(sent)
        receiver.default["/hook"] = Reply()
        with process(url, receiver):
            until(lambda: delivered(database) == len(sent), PATIENCE)
        got = receiver.requests()
        database.close()
    assert {each.message_id for each in got} == {each.message_id for each in sent}
    for each in got:
        # One id per event, however often it arrived.
        assert each.message_id == sent[each.verified(secret)["data"]["n"]].message_id
    times = Counter(each.message_id for each in got)
    assert all(times[name] >= 2 for name in unanswered)
    # Undelivered events are sent once more; two may have been in flight when counted.
    assert len(got) <= before + (len(sent) - done) + 2


def test_a_receiver_gets_all_events_when_it_is_up_again(tmp_path):
    sent, port = events(6), free_port()
    url = f"sqlite:///{tmp_path}/notifier.db"
    database, secret = prepare(url, f"http://127.0.0.1:{port}/hook", sent)
    with sending(database, f"127.0.0.1:{port}") as running:
        until(lambda: running.attempts("retried") >= 2 * len(sent), PATIENCE)
        with Receiver(port) as receiver:
            receiver.replies["/hook"] = [Reply(503)] * 5
            until(lambda: delivered(database) == len(sent), PATIENCE)
            got = receiver.requests()
    database.close()
    assert len(got) == len(sent) + 5
    assert {each.message_id for each in got} == {each.message_id for each in sent}
    assert {each.verified(secret)["data"]["n"] for each in got} == set(range(len(sent)))


@pytest.mark.slow
@pytest.mark.postgresql
def test_no_event_is_lost_in_a_database_outage(postgres: Postgres):
    sent, held = events(8), Flag()
    with Receiver() as receiver:
        receiver.replies["/hook"] = [Reply(held=held), Reply(held=held)]
        database, secret = prepare(postgres.url, receiver.url(), sent)
        with sending(database, receiver.host) as running:
            until(lambda: len(receiver.requests()) == 2, PATIENCE)
            postgres.stop()
            held.set()
            with pytest.raises(StorageError):
                delivered(database)
            running.stop.wait(2)  # duration of the outage
            postgres.start()
            until(lambda: delivered(database) == len(sent), PATIENCE)
            got = receiver.requests()
        database.close()
    # The two outcomes of the outage were kept: no event is sent twice.
    assert sorted(each.verified(secret)["data"]["n"] for each in got) == list(range(len(sent)))


@pytest.mark.slow
@pytest.mark.postgresql
def test_two_senders_on_one_postgresql_share_the_work(postgres: Postgres):
    sent = events(60)
    with Receiver() as receiver:
        database, _ = prepare(postgres.url, receiver.url(), sent)
        with sending(database, receiver.host) as one, sending(database, receiver.host) as other:
            until(lambda: delivered(database) == len(sent), PATIENCE)
            until(lambda: one.attempts("delivered") + other.attempts("delivered") == len(sent))
        database.close()
    assert Counter(each.message_id for each in receiver.requests()) == Counter(
        each.message_id for each in sent
    )

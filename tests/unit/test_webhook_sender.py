"""The sender of webhooks: what is sent, how often, and how it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event as Flag
from time import monotonic

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from standardwebhooks import WebhookVerificationError
from structlog.testing import capture_logs

from notifier.store import deliveries as outgoing
from notifier.store.database import Database
from notifier.store.subscriptions import enable
from notifier.store.tables import Delivery, Subscription
from notifier.webhooks.outbox import enqueue
from notifier.webhooks.posting import told_url
from superres.errors import StorageError
from superres.pipeline.config import Notifier
from tests.support.http_server import until
from tests.support.webhook_receiver import Reply
from tests.support.webhooks import (
    NOW,
    all_are,
    event,
    later,
    one,
    put,
    sending,
    state_of,
    subscribe,
)


def test_an_event_arrives_signed(database, receiver):
    name = subscribe(database, receiver.url("/hook?key=hidden"))
    secret = state_of(database, name).secret
    put(database, event())
    with capture_logs() as logs, sending(database, receiver.host) as running:
        until(lambda: all_are(database, "delivered"))
    (got,) = receiver.got()
    assert got.path == "/hook?key=hidden"
    assert got.headers["content-type"] == "application/json"
    assert got.message_id == event().message_id
    told = got.verified(secret)
    assert told == {
        "type": "image.finished",
        "timestamp": NOW.isoformat(),
        "data": event().data,
    }
    with pytest.raises(WebhookVerificationError):
        replace(got, body=got.body.replace(b"finished", b"vanished")).verified(secret)
    row = one(database)
    assert (row.attempts, row.status, row.error, row.leased_until) == (1, 204, None, None)
    assert running.attempts("delivered") == 1
    assert [log["event"] for log in logs] == ["webhook_delivered"]
    assert "hidden" not in str(logs)
    assert secret not in str(logs)


def test_a_failure_is_tried_again_under_the_same_id_with_a_new_timestamp(database, receiver):
    receiver.answers["/hook"] = [Reply(500), Reply(503, {"Retry-After": "2"})]
    name = subscribe(database, receiver.url())
    put(database, event())
    with sending(database, receiver.host) as running:
        until(lambda: len(receiver.got()) == 2)
        until(lambda: running.attempts("retried") == 2)
        row = one(database)
        assert (row.attempts, row.status, row.error) == (2, 503, "the receiver answered 503")
        assert state_of(database, name).failing_since is not None
        until(lambda: all_are(database, "delivered"))
    first, second, third = receiver.got()
    assert first.message_id == second.message_id == third.message_id
    assert third.at - second.at >= 1.9
    assert int(third.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    third.verified(state_of(database, name).secret)
    assert state_of(database, name).failing_since is None


def test_a_redirect_is_a_failure(database, receiver):
    receiver.answers["/hook"] = [Reply(302, {"Location": receiver.url("/elsewhere")})]
    subscribe(database, receiver.url())
    put(database, event())
    with capture_logs() as logs, sending(database, receiver.host):
        until(lambda: all_are(database, "delivered"))
    assert receiver.got("/elsewhere") == []
    assert len(receiver.got()) == 2
    failures = [log for log in logs if log["event"] == "webhook_retried"]
    assert [log["reason"] for log in failures] == [
        "the receiver answered 302; redirects are not followed"
    ]


def test_a_slow_receiver_holds_nobody_else_and_gets_two_at_once(database, receiver):
    held = Flag()
    receiver.always["/slow"] = Reply(200, held=held)
    slow = subscribe(database, receiver.url("/slow"), "image.finished")
    put(database, *map(event, range(12)))
    quick = subscribe(database, receiver.url("/quick"), "run.failed")
    put(database, *(event(number, "run.failed") for number in range(12)))
    with sending(database, receiver.host):
        until(lambda: len(receiver.got("/quick")) == 12)
        assert len(receiver.got("/slow")) == 2
        held.set()
        until(lambda: all_are(database, "delivered"))
    assert len(receiver.got("/slow")) == 12
    assert receiver.most_at_once <= 4
    assert state_of(database, slow).failing_since is None
    assert state_of(database, quick).failing_since is None


def test_a_receiver_that_says_nothing_is_cut_off(database, receiver):
    receiver.answers["/hook"] = [Reply(held=Flag())]
    subscribe(database, receiver.url("/hook?key=hidden"))
    put(database, event())
    with sending(database, receiver.host, Notifier(webhook_seconds=0.3)):
        until(lambda: one(database).attempts == 1)
    row = one(database)
    assert row.status is None
    assert row.error == f"http://{receiver.host}: timed out"


def test_the_status_counts_even_if_the_body_never_comes(database, receiver):
    receiver.answers["/hook"] = [Reply(200, {"Content-Length": "100"})]
    subscribe(database, receiver.url())
    put(database, event())
    with sending(database, receiver.host, Notifier(webhook_seconds=0.3)):
        until(lambda: all_are(database, "delivered"))
    assert len(receiver.got()) == 1


def test_410_disables_and_enabling_sends_what_waited(database, receiver):
    receiver.answers["/hook"] = [Reply(410)]
    name = subscribe(database, receiver.url())
    put(database, event())
    with sending(database, receiver.host) as running:
        until(lambda: state_of(database, name).disabled_at is not None)
        assert state_of(database, name).disabled_reason == "the receiver answered 410 Gone"
        until(lambda: running.attempts("retried") == 1)
        put(database, event(2))
        assert one(database).state == "pending"
        with database.writing() as session:
            enable(session, name)
        until(lambda: all_are(database, "delivered"))
    assert [got.message_id for got in receiver.got()] == [event().message_id] * 2
    found = state_of(database, name)
    assert (found.disabled_at, found.disabled_reason, found.failing_since) == (None, None, None)


def test_long_failure_disables(database, receiver):
    receiver.always["/hook"] = Reply(500)
    name = subscribe(database, receiver.url())
    put(database, event())
    with database.writing() as session:
        session.execute(update(Subscription).values(failing_since=later(-5 * 86_400)))
    with capture_logs() as logs, sending(database, receiver.host):
        until(lambda: state_of(database, name).disabled_at is not None)
    assert state_of(database, name).disabled_reason == "every attempt has failed for 5 days"
    assert [log["reason"] for log in logs if log["event"] == "subscription_disabled"]
    assert len(receiver.got()) == 1


def test_it_gives_up_and_a_replay_begins_again(database, receiver):
    receiver.answers["/hook"] = [Reply(500)] * 2
    name = subscribe(database, receiver.url())
    with database.writing() as session:
        enqueue(session, event())
        soon = datetime.now(UTC) + timedelta(seconds=0.1)
        session.execute(update(Delivery).values(give_up_at=soon))
    with sending(database, receiver.host) as running:
        until(lambda: all_are(database, "failed"))
        row = one(database)
        assert (row.status, row.error) == (500, "the receiver answered 500")
        assert row.ended_at is not None
        attempts = len(receiver.got())
        receiver.answers.clear()
        with database.writing() as session:
            again = outgoing.replay(session, name, row.id, datetime.now(UTC))
            assert again is not None
            assert (again.state, again.attempts, again.ended_at) == ("pending", 0, None)
            assert again.give_up_at > later(23 * 3600)
        running.sender.wake()
        until(lambda: all_are(database, "delivered"))
        assert running.attempts("failed") == 1
    assert len(receiver.got()) == attempts + 1
    assert {got.message_id for got in receiver.got()} == {event().message_id}


def test_a_private_address_is_never_connected_to(database, receiver):
    subscribe(database, receiver.url())
    put(database, event())
    with sending(database, "elsewhere.example") as running:
        until(lambda: running.attempts("retried") >= 1)
    assert receiver.got() == []
    row = one(database)
    assert row.state == "pending"
    assert "not public" in (row.error or "")


def test_it_ends_at_once_and_gives_back_what_was_not_answered(database, receiver):
    held = Flag()
    receiver.answers["/hook"] = [Reply(held=held)]
    subscribe(database, receiver.url())
    put(database, event())
    with sending(database, receiver.host, Notifier(webhook_seconds=30)) as running:
        until(lambda: len(receiver.got()) == 1)
        began = monotonic()
        running.stop.set()
        running.thread.join(8)
        assert not running.thread.is_alive()
        assert monotonic() - began < 5
    row = one(database)
    assert (row.state, row.attempts, row.leased_until) == ("pending", 0, None)
    with sending(database, receiver.host):
        until(lambda: all_are(database, "delivered"))
    assert len({got.message_id for got in receiver.got()}) == 1


class Fragile(Database):
    """A database that does not answer while told so."""

    gone = Flag()
    refused = 0

    @contextmanager
    def reading(self) -> Iterator[Session]:
        self._check()
        with super().reading() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        self._check()
        with super().writing() as session:
            yield session

    def _check(self) -> None:
        if self.gone.is_set():
            Fragile.refused += 1
            raise StorageError("the database does not answer")


def test_an_outcome_is_kept_while_the_database_is_gone(database, receiver):
    held = Flag()
    receiver.answers["/hook"] = [Reply(held=held)]
    subscribe(database, receiver.url())
    put(database, event())
    fragile = Fragile(database.engine)
    with capture_logs() as logs, sending(fragile, receiver.host):
        until(lambda: len(receiver.got()) == 1)
        Fragile.gone.set()
        held.set()
        until(lambda: Fragile.refused >= 2)
        assert one(database).state == "pending"
        Fragile.gone.clear()
        until(lambda: all_are(database, "delivered"))
    assert len(receiver.got()) == 1
    assert [log["event"] for log in logs] == ["webhooks_wait", "webhook_delivered"]


def test_logs_have_nothing_of_a_url_that_may_be_a_secret():
    told = told_url("https://ann:secret@hooks.example:8443/secret?key=secret#x")
    assert told == "https://hooks.example:8443"

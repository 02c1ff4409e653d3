"""The sender of webhooks: what it sends, how it retries, and how it stops."""

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
from notifier.webhooks.posting import loggable_url
from superres.errors import StorageError
from superres.pipeline.config import Notifier
from tests.support.http_server import until
from tests.support.webhook_receiver import Reply
from tests.support.webhooks import (
    NOW,
    all_are,
    enqueue_all,
    event,
    find,
    later,
    only_row,
    sending,
    subscribe,
)


def test_an_event_arrives_signed(database, receiver):
    name = subscribe(database, receiver.url("/hook?key=hidden"))
    secret = find(database, name).secret
    enqueue_all(database, event())
    with capture_logs() as logs, sending(database, receiver.host) as running:
        until(lambda: all_are(database, "delivered"))
    (got,) = receiver.requests()
    assert got.path == "/hook?key=hidden"
    assert got.headers["content-type"] == "application/json"
    assert got.message_id == event().message_id
    content = got.verified(secret)
    assert content == {
        "type": "image.finished",
        "timestamp": NOW.isoformat(),
        "data": event().data,
    }
    with pytest.raises(WebhookVerificationError):
        replace(got, body=got.body.replace(b"finished", b"vanished")).verified(secret)
    row = only_row(database)
    assert (row.attempts, row.status, row.error, row.leased_until) == (1, 204, None, None)
    assert running.attempts("delivered") == 1
    assert [log["event"] for log in logs] == ["webhook_delivered"]
    assert "hidden" not in str(logs)
    assert secret not in str(logs)


@pytest.mark.slow
def test_a_retry_has_the_same_id_and_a_new_timestamp(database, receiver):
    receiver.replies["/hook"] = [Reply(500), Reply(503, {"Retry-After": "2"})]
    name = subscribe(database, receiver.url())
    enqueue_all(database, event())
    with sending(database, receiver.host) as running:
        until(lambda: len(receiver.requests()) == 2)
        until(lambda: running.attempts("retried") == 2)
        row = only_row(database)
        assert (row.attempts, row.status, row.error) == (2, 503, "the receiver answered 503")
        assert find(database, name).failing_since is not None
        until(lambda: all_are(database, "delivered"))
    first, second, third = receiver.requests()
    assert first.message_id == second.message_id == third.message_id
    assert third.at - second.at >= 1.9
    assert int(third.headers["webhook-timestamp"]) > int(first.headers["webhook-timestamp"])
    third.verified(find(database, name).secret)
    assert find(database, name).failing_since is None


def test_a_redirect_is_a_failure(database, receiver):
    receiver.replies["/hook"] = [Reply(302, {"Location": receiver.url("/elsewhere")})]
    subscribe(database, receiver.url())
    enqueue_all(database, event())
    with capture_logs() as logs, sending(database, receiver.host):
        until(lambda: all_are(database, "delivered"))
    assert receiver.requests("/elsewhere") == []
    assert len(receiver.requests()) == 2
    failures = [log for log in logs if log["event"] == "webhook_retried"]
    assert [log["reason"] for log in failures] == [
        "the receiver answered 302; redirects are not followed"
    ]


def test_a_slow_receiver_gets_two_posts_at_once_and_does_not_block_others(database, receiver):
    held = Flag()
    receiver.default["/slow"] = Reply(200, held=held)
    slow = subscribe(database, receiver.url("/slow"), "image.finished")
    enqueue_all(database, *map(event, range(12)))
    quick = subscribe(database, receiver.url("/quick"), "run.failed")
    enqueue_all(database, *(event(number, "run.failed") for number in range(12)))
    with sending(database, receiver.host):
        until(lambda: len(receiver.requests("/quick")) == 12)
        assert len(receiver.requests("/slow")) == 2
        held.set()
        until(lambda: all_are(database, "delivered"))
    assert len(receiver.requests("/slow")) == 12
    assert receiver.max_concurrent <= 4
    assert find(database, slow).failing_since is None
    assert find(database, quick).failing_since is None


def test_a_receiver_that_does_not_respond_times_out(database, receiver):
    receiver.replies["/hook"] = [Reply(held=Flag())]
    subscribe(database, receiver.url("/hook?key=hidden"))
    enqueue_all(database, event())
    with sending(database, receiver.host, Notifier(webhook_seconds=0.3)):
        until(lambda: only_row(database).attempts == 1)
    row = only_row(database)
    assert row.status is None
    assert row.error == f"http://{receiver.host}: timed out"


def test_the_status_counts_even_if_the_body_is_cut_off(database, receiver):
    receiver.replies["/hook"] = [Reply(200, {"Content-Length": "100"})]
    subscribe(database, receiver.url())
    enqueue_all(database, event())
    with sending(database, receiver.host, Notifier(webhook_seconds=0.3)):
        until(lambda: all_are(database, "delivered"))
    assert len(receiver.requests()) == 1


def test_410_disables_and_enabling_sends_waiting_deliveries(database, receiver):
    receiver.replies["/hook"] = [Reply(410)]
    name = subscribe(database, receiver.url())
    enqueue_all(database, event())
    with sending(database, receiver.host) as running:
        until(lambda: find(database, name).disabled_at is not None)
        assert find(database, name).disabled_reason == "the receiver answered 410 Gone"
        until(lambda: running.attempts("retried") == 1)
        enqueue_all(database, event(2))
        assert only_row(database).state == "pending"
        with database.writing() as session:
            enable(session, name)
        until(lambda: all_are(database, "delivered"))
    assert [got.message_id for got in receiver.requests()] == [event().message_id] * 2
    found = find(database, name)
    assert (found.disabled_at, found.disabled_reason, found.failing_since) == (None, None, None)


def test_five_days_of_failures_disable_a_subscription(database, receiver):
    receiver.default["/hook"] = Reply(500)
    name = subscribe(database, receiver.url())
    enqueue_all(database, event())
    with database.writing() as session:
        session.execute(update(Subscription).values(failing_since=later(-5 * 86_400)))
    with capture_logs() as logs, sending(database, receiver.host):
        until(lambda: find(database, name).disabled_at is not None)
    assert find(database, name).disabled_reason == "every attempt has failed for 5 days"
    assert [log["reason"] for log in logs if log["event"] == "subscription_disabled"]
    assert len(receiver.requests()) == 1


def test_a_replay_starts_again_after_giving_up(database, receiver):
    receiver.default["/hook"] = Reply(500)
    name = subscribe(database, receiver.url())
    with database.writing() as session:
        enqueue(session, event())
        soon = datetime.now(UTC) + timedelta(seconds=0.1)
        session.execute(update(Delivery).values(give_up_at=soon))
    with sending(database, receiver.host) as running:
        until(lambda: all_are(database, "failed"))
        row = only_row(database)
        assert (row.status, row.error) == (500, "the receiver answered 500")
        assert row.ended_at is not None
        attempts = len(receiver.requests())
        receiver.default.clear()
        with database.writing() as session:
            again = outgoing.replay(session, name, row.id, datetime.now(UTC))
            assert again is not None
            assert (again.state, again.attempts, again.ended_at) == ("pending", 0, None)
            assert again.give_up_at > later(23 * 3600)
        until(lambda: all_are(database, "delivered"))
        assert running.attempts("failed") == 1
    assert len(receiver.requests()) == attempts + 1
    assert {got.message_id for got in receiver.requests()} == {event().message_id}


def test_the_sender_never_connects_to_a_private_address(database, receiver):
    subscribe(database, receiver.url())
    enqueue_all(database, event())
    with sending(database, "elsewhere.example") as running:
        until(lambda: running.attempts("retried") >= 1)
    assert receiver.requests() == []
    row = only_row(database)
    assert row.state == "pending"
    assert "not public" in (row.error or "")


@pytest.mark.slow
def test_stopping_is_quick_and_releases_unanswered_deliveries(database, receiver):
    held = Flag()
    receiver.replies["/hook"] = [Reply(held=held)]
    subscribe(database, receiver.url())
    enqueue_all(database, event())
    with sending(database, receiver.host, Notifier(webhook_seconds=30)) as running:
        until(lambda: len(receiver.requests()) == 1)
        began = monotonic()
        running.stop.set()
        running.thread.join(8)
        assert not running.thread.is_alive()
        assert monotonic() - began < 5
    row = only_row(database)
    assert (row.state, row.attempts, row.leased_until) == ("pending", 0, None)
    with sending(database, receiver.host):
        until(lambda: all_are(database, "delivered"))
    assert len({got.message_id for got in receiver.requests()}) == 1


class Fragile(Database):
    """A database that does not answer while ``gone`` is set."""

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


@pytest.mark.slow
def test_an_outcome_is_kept_during_a_database_outage(database, receiver):
    held = Flag()
    receiver.replies["/hook"] = [Reply(held=held)]
    subscribe(database, receiver.url())
    enqueue_all(database, event())
    fragile = Fragile(database.engine)
    with capture_logs() as logs, sending(fragile, receiver.host):
        until(lambda: len(receiver.requests()) == 1)
        Fragile.gone.set()
        held.set()
        until(lambda: Fragile.refused >= 2)
        assert only_row(database).state == "pending"
        Fragile.gone.clear()
        until(lambda: all_are(database, "delivered"))
    assert len(receiver.requests()) == 1
    assert [log["event"] for log in logs] == ["database_unavailable", "webhook_delivered"]


def test_logs_contain_no_secret_parts_of_a_url():
    url = loggable_url("https://ann:secret@hooks.example:8443/secret?key=secret#x")
    assert url == "https://hooks.example:8443"

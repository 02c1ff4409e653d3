"""Deliveries in the database: for which subscription, by which sender, for how long."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from notifier.store import deliveries as outgoing
from notifier.store.database import Database, open_database
from notifier.store.deliveries import Settlement
from notifier.store.subscriptions import create_subscription, delete_subscription, disable, enable
from notifier.store.tables import Delivery
from notifier.webhooks.outbox import enqueue
from tests.support.webhooks import NOW, enqueue_all, event, later, rows, subscribe

LEASE = timedelta(seconds=20)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/notifier.db"
    return request.getfixturevalue("postgres").url


@pytest.fixture
def either(url: str) -> Iterator[Database]:
    """A database; each test that uses it runs on SQLite and PostgreSQL."""
    opened = open_database(url)
    yield opened
    opened.close()


def test_an_event_goes_once_to_every_subscription_of_its_type(either):
    both = subscribe(either)
    runs = subscribe(either, "https://example.org/runs", "run.failed")
    off = subscribe(either, "https://example.org/off")
    with either.writing() as session:
        assert disable(session, off, "tired", NOW)
        assert not disable(session, off, "again", NOW)
    enqueue_all(either, event(1), event(1), event(2, "run.failed"))
    enqueue_all(either, event(1))
    assert [(row.subscription_id, row.type) for row in rows(either)] == [
        (both, "image.finished"),
        (both, "run.failed"),
        (runs, "run.failed"),
    ]
    assert rows(either)[0].message_id == event(1).message_id


def test_an_event_is_not_sent_when_its_transaction_fails(either):
    def fail(session: Session) -> None:
        enqueue(session, event())
        raise RuntimeError

    subscribe(either)
    with pytest.raises(RuntimeError), either.writing() as session:
        fail(session)
    assert rows(either) == []


def test_secrets_are_32_random_bytes_and_all_different(either):
    with either.writing() as session:
        made = [create_subscription(session, "https://a.example", [], "", NOW) for _ in range(20)]
    secrets = {each.secret for each in made}
    assert len(secrets) == 20
    assert all(secret.startswith("whsec_") for secret in secrets)
    assert {len(base64.b64decode(secret[6:], validate=True)) for secret in secrets} == {32}


def test_a_claim_lasts_until_its_lease_expires(either):
    name = subscribe(either)
    enqueue_all(either, event(1), event(2))
    now = later(1)
    with either.writing() as session:
        first = outgoing.claim(session, name, now, 1, LEASE)
        second = outgoing.claim(session, name, now, 5, LEASE)
        assert outgoing.subscriptions_due(session, now) == []
    assert [len(first), len(second)] == [1, 1]
    assert first[0].id != second[0].id
    assert "whsec_" not in repr(first[0])
    with either.writing() as session:
        assert outgoing.subscriptions_due(session, now + LEASE) == [name]
        again = outgoing.claim(session, name, now + LEASE, 5, LEASE)
    assert {each.message_id for each in again} == {event(1).message_id, event(2).message_id}
    with either.writing() as session:
        assert not outgoing.settle(session, first[0], Settlement(500, "late"), now)
        assert not outgoing.release(session, first[0])
        assert outgoing.settle(session, again[0], Settlement(204), now)
    assert sorted(row.state for row in rows(either)) == ["delivered", "pending"]


def test_deliveries_that_are_not_due_or_disabled_are_not_claimed(either):
    name = subscribe(either)
    enqueue_all(either, event())
    with either.writing() as session:
        assert outgoing.claim(session, name, later(-60), 5, LEASE) == []
        disable(session, name, "tired", NOW)
        assert outgoing.subscriptions_due(session, later(1)) == []
        assert outgoing.claim(session, name, later(1), 5, LEASE) == []
        enable(session, name)
        assert len(outgoing.claim(session, name, later(1), 5, LEASE)) == 1


def test_no_two_senders_claim_the_same_delivery(url):
    databases = [open_database(url) for _ in range(4)]
    name = subscribe(databases[0])
    enqueue_all(databases[0], *map(event, range(60)))
    now = later(1)

    def claim_all(database: Database) -> list[int]:
        claimed_ids: list[int] = []
        while True:
            with database.writing() as session:
                claimed = outgoing.claim(session, name, now, 2, LEASE)
            if not claimed:
                return claimed_ids
            claimed_ids += [each.id for each in claimed]

    with ThreadPoolExecutor(4) as pool:
        claimed_ids = [number for numbers in pool.map(claim_all, databases) for number in numbers]
    assert sorted(claimed_ids) == [row.id for row in rows(databases[0])]
    for database in databases:
        database.close()


def test_deliveries_of_a_disabled_subscription_fail_at_their_give_up_time(either):
    off, on = subscribe(either), subscribe(either, "https://example.org/on")
    enqueue_all(either, event())
    with either.writing() as session:
        disable(session, off, "tired", NOW)
        assert outgoing.fail_overdue(session, later(23 * 3600)) == 0
        assert outgoing.fail_overdue(session, later(25 * 3600)) == 1
    assert {row.subscription_id: row.state for row in rows(either)} == {
        off: "failed",
        on: "pending",
    }


def test_deliveries_are_listed_by_page_and_deleted_with_their_subscription(either):
    name, other = subscribe(either), subscribe(either, "https://example.org/other")
    enqueue_all(either, *map(event, range(5)))
    with either.writing() as session:
        first, position = outgoing.deliveries_to(session, name, 2)
        assert position is not None
        enqueue(session, event(9))  # between the pages
        second, position = outgoing.deliveries_to(session, name, 2, position)
        last, end = outgoing.deliveries_to(session, name, 2, position)
        assert end is None
        seen = [each.message_id for each in (*first, *second, *last)]
        assert seen == [event(number).message_id for number in (4, 3, 2, 1, 0)]
        assert delete_subscription(session, name)
        assert not delete_subscription(session, name)
    assert {row.subscription_id for row in rows(either)} == {other}


def test_deliveries_that_ended_a_month_ago_are_deleted(database):
    name = subscribe(database, "https://example.org/hook")
    with database.writing() as session:
        enqueue(session, event())
        enqueue(session, event(2))
        ended = {"state": "delivered", "ended_at": datetime.now(UTC) - timedelta(days=31)}
        first = session.scalars(select(Delivery.id)).first()
        session.execute(update(Delivery).where(Delivery.id == first).values(**ended))
        outgoing.delete_old(session, datetime.now(UTC))
        (left,), _ = outgoing.deliveries_to(session, name, 10)
    assert (left.state, left.id == first) == ("pending", False)

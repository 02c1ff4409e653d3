"""Webhooks: when they are sent, what is sent, and how they are subscribed to."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from time import monotonic
from typing import Any, get_args

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from standardwebhooks import WebhookVerificationError
from structlog.testing import capture_logs

from notifier.events import SUBSCRIBABLE, Event
from notifier.pictures import Pictures
from notifier.store import deliveries as outgoing
from notifier.store.database import Database, open_database
from notifier.store.deliveries import Settlement
from notifier.store.subscriptions import (
    create_subscription,
    delete_subscription,
    disable,
    enable,
    subscription_of,
)
from notifier.store.tables import Delivery, Subscription
from notifier.web.app import create_app
from notifier.web.changes import Changes
from notifier.web.service import Service, Tokens
from notifier.web.subscriptions_api import Type
from notifier.webhooks.outbox import enqueue
from notifier.webhooks.posting import told_url
from notifier.webhooks.schedule import backoff, next_attempt, reason_to_disable
from notifier.webhooks.sender import Sender
from superres.config import Notifier, Settings
from superres.errors import StorageError
from superres.guard import Client
from tests.http_source import until
from tests.receiver import Receiver, Reply

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LEASE = timedelta(seconds=20)
QUICK = Notifier(webhook_retry_seconds=0.01, webhook_seconds=5)


# ---- the schedule


def test_waits_grow_fourfold_up_to_six_hours_with_jitter():
    longest = [backoff(failures, 5, 1.0) for failures in range(1, 12)]
    assert longest[:4] == [5, 20, 80, 320]
    assert longest[-1] == 6 * 3600
    assert [backoff(failures, 5, 0.0) for failures in range(1, 4)] == [2.5, 10, 40]
    assert backoff(100_000, 5, 1.0) == 6 * 3600


def test_a_day_of_failures_has_about_ten_attempts_and_ends_with_the_day():
    give_up_at, now, moments = NOW + timedelta(hours=24), NOW, []
    for failures in range(1, 100):
        due = next_attempt(failures, None, give_up_at, now, 5, 0.5)
        if due is None:
            break
        moments.append(due)
        now = due
    assert 8 <= len(moments) <= 14
    assert moments[-1] == give_up_at


def test_what_the_receiver_asks_for_is_kept_to_within_the_time_that_is_left():
    give_up_at = NOW + timedelta(hours=1)
    assert next_attempt(1, "600", give_up_at, NOW, 5, 0.5) == NOW + timedelta(seconds=600)
    assert next_attempt(1, "1", give_up_at, NOW, 5, 1.0) == NOW + timedelta(seconds=5)
    assert next_attempt(1, "9" * 400, give_up_at, NOW, 5, 0.5) == give_up_at
    assert next_attempt(1, "600", NOW, NOW, 5, 0.5) is None


def test_gone_or_five_days_of_failures_disable():
    day = timedelta(days=1)
    assert "410" in (reason_to_disable(410, NOW, NOW, 5) or "")
    assert reason_to_disable(500, NOW - 4.9 * day, NOW, 5) is None
    assert "5 days" in (reason_to_disable(None, NOW - 5 * day, NOW, 5) or "")


def test_logs_have_nothing_of_a_url_that_may_be_a_secret():
    told = told_url("https://ann:secret@hooks.example:8443/secret?key=secret#x")
    assert told == "https://hooks.example:8443"


# ---- the store


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/notifier.db")
    yield opened
    opened.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/notifier.db"
    return request.getfixturevalue("postgres").url


@pytest.fixture
def either(url: str) -> Iterator[Database]:
    """Each test with it runs on both databases."""
    opened = open_database(url)
    yield opened
    opened.close()


def event(number: int = 1, type_: Any = "image.finished") -> Event:
    return Event(type_, f"{number:032x}", NOW, {"image_id": f"{number:032x}", "ä": "→"})


def subscribe(database: Database, url: str = "https://example.org/hook", *types: str) -> str:
    with database.writing() as session:
        return create_subscription(session, url, types or SUBSCRIBABLE, "", NOW).id


def put(database: Database, *events: Event) -> None:
    with database.writing() as session:
        for each in events:
            enqueue(session, each)


def rows(database: Database) -> list[Delivery]:
    with database.reading() as session:
        return list(session.scalars(select(Delivery).order_by(Delivery.id)))


def one(database: Database) -> Delivery:
    (row,) = rows(database)
    return row


def state_of(database: Database, name: str) -> Subscription:
    with database.reading() as session:
        found = subscription_of(session, name)
    assert found is not None
    return found


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_an_event_goes_to_all_who_want_it_once(either):
    both = subscribe(either)
    runs = subscribe(either, "https://example.org/runs", "run.failed")
    off = subscribe(either, "https://example.org/off")
    with either.writing() as session:
        assert disable(session, off, "tired", NOW)
        assert not disable(session, off, "again", NOW)
    put(either, event(1), event(1), event(2, "run.failed"))
    put(either, event(1))
    assert [(row.subscription_id, row.type) for row in rows(either)] == [
        (both, "image.finished"),
        (both, "run.failed"),
        (runs, "run.failed"),
    ]
    assert rows(either)[0].message_id == event(1).message_id


def test_an_event_is_not_sent_when_the_transaction_fails(either):
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


def test_a_claim_is_ours_until_its_lease_runs_out(either):
    name = subscribe(either)
    put(either, event(1), event(2))
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


def test_nothing_is_claimed_before_it_is_due_or_for_a_disabled_subscription(either):
    name = subscribe(either)
    put(either, event())
    with either.writing() as session:
        assert outgoing.claim(session, name, later(-60), 5, LEASE) == []
        disable(session, name, "tired", NOW)
        assert outgoing.subscriptions_due(session, later(1)) == []
        assert outgoing.claim(session, name, later(1), 5, LEASE) == []
        enable(session, name)
        assert len(outgoing.claim(session, name, later(1), 5, LEASE)) == 1


def test_many_senders_never_claim_the_same(url):
    databases = [open_database(url) for _ in range(4)]
    name = subscribe(databases[0])
    put(databases[0], *map(event, range(60)))
    now = later(1)

    def take(database: Database) -> list[int]:
        taken: list[int] = []
        while True:
            with database.writing() as session:
                claimed = outgoing.claim(session, name, now, 2, LEASE)
            if not claimed:
                return taken
            taken += [each.id for each in claimed]

    with ThreadPoolExecutor(4) as pool:
        taken = [number for numbers in pool.map(take, databases) for number in numbers]
    assert sorted(taken) == [row.id for row in rows(databases[0])]
    for database in databases:
        database.close()


def test_what_waits_for_a_disabled_subscription_fails_at_its_give_up_time(either):
    off, on = subscribe(either), subscribe(either, "https://example.org/on")
    put(either, event())
    with either.writing() as session:
        disable(session, off, "tired", NOW)
        assert outgoing.fail_overdue(session, later(23 * 3600)) == 0
        assert outgoing.fail_overdue(session, later(25 * 3600)) == 1
    assert {row.subscription_id: row.state for row in rows(either)} == {
        off: "failed",
        on: "pending",
    }


def test_deliveries_come_by_page_and_go_with_their_subscription(either):
    name, other = subscribe(either), subscribe(either, "https://example.org/other")
    put(either, *map(event, range(5)))
    with either.writing() as session:
        first, place = outgoing.deliveries_to(session, name, 2)
        assert place is not None
        put_in_between = event(9)
        enqueue(session, put_in_between)
        second, place = outgoing.deliveries_to(session, name, 2, place)
        last, end = outgoing.deliveries_to(session, name, 2, place)
        assert end is None
        seen = [each.message_id for each in (*first, *second, *last)]
        assert seen == [event(number).message_id for number in (4, 3, 2, 1, 0)]
        assert delete_subscription(session, name)
        assert not delete_subscription(session, name)
    assert {row.subscription_id for row in rows(either)} == {other}


# ---- the sender


@dataclass
class Running:
    """A sender at work."""

    sender: Sender
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
    thread.start()
    try:
        yield Running(sender, stop, thread, registry)
    finally:
        stop.set()
        sender.wake()
        thread.join(10)
        client.close()
        assert not thread.is_alive()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


def all_are(database: Database, state: str) -> bool:
    return all(row.state == state for row in rows(database))


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
    assert row.error == f"http://{receiver.host}: no answer in time"


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


# ---- the interface

TOKEN = "0123456789abcdef"
SUBSCRIPTIONS = "/api/v1/subscriptions"
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
def web(database: Database, tmp_path: Path) -> FlaskClient:
    """A client that bears the write token, of a service that allows 127.0.0.1:9."""
    service = Service(
        Settings(notifier=Notifier(allowed_hosts=("127.0.0.1:9", "Receiver.internal"))),
        database,
        Pictures(tmp_path / "cache", 1 << 24),
        Changes(database),
        Tokens(write=TOKEN, read="fedcba9876543210"),
        guarded=False,
        registry=CollectorRegistry(),
        ready=lambda: "",
    )
    client = create_app(service).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return client


def made(web: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = web.post(SUBSCRIPTIONS, json={"url": HOOK} | body)
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def test_the_types_that_can_be_subscribed_to_are_those_of_the_events():
    assert get_args(Type) == SUBSCRIBABLE


def test_a_subscription_shows_its_secret_once(web):
    answer = web.post(SUBSCRIPTIONS, json={"url": HOOK, "description": "Grüße"})
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    created = answer.get_json()
    secret = created.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert created["types"] == sorted(SUBSCRIBABLE)
    assert created["enabled"]
    assert answer.headers["Location"] == f"{SUBSCRIPTIONS}/{created['id']}"
    found = web.get(answer.headers["Location"])
    assert found.get_json() == created
    listed = web.get(SUBSCRIPTIONS)
    assert listed.get_json() == {"subscriptions": [created]}
    assert secret not in found.text + listed.text


BAD_URLS = [
    "ftp://example.org/",
    "example.org",
    "http://",
    "http://ann:secret@127.0.0.1:9/",
    "http://127.0.0.1:99999/",
    "http://[::1/",
    "http://[::::]/",
    "http://127.0.0.1:9/a b",
    "http://127.0.0.1:9/a\n",
    "http://127.0.0.1:9/\u0000",
    "http://127.0.0.1:9/#part",
    "http://127.0.0.1:9/" + "a" * 2000,
    "http://127.0.0.1:8/",
    "http://localhost:9/",
    "http://[::1]:9/",
    "http://[::ffff:127.0.0.1]:9/",
    "http://169.254.169.254/latest/meta-data",
    "http://10.0.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "",
    7,
    None,
]
BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    *(({"url": url}, "url") for url in BAD_URLS),
    ({"types": []}, "types"),
    ({"types": ["test"]}, "types.0"),
    ({"types": "image.finished"}, "types"),
    ({"description": "a\u0000b"}, "description"),
    ({"description": "\ud800"}, "description"),
    ({"description": "a" * 201}, "description"),
    ({"secret": "whsec_mine"}, "secret"),
]


def test_what_cannot_be_is_refused_by_name(web, database):
    for body, name in BAD_FIELDS:
        # As text: Flask's client cannot send half a surrogate pair otherwise.
        content = json.dumps({"url": HOOK} | body)
        answer = web.post(SUBSCRIPTIONS, data=content, content_type="application/json")
        assert answer.status_code == 422, body
        assert answer.mimetype == "application/problem+json"
        assert [error["field"] for error in answer.get_json()["errors"]] == [name]
    with database.reading() as session:
        assert session.scalars(select(Subscription)).all() == []


def test_a_name_that_has_no_address_yet_is_taken(web):
    assert made(web, url="https://nobody.invalid/hook", types=["run.failed"])["enabled"]


@pytest.mark.parametrize("token", ["", "fedcba9876543210", "0123456789abcdeF"])
def test_all_of_it_needs_the_write_token(web, token):
    name = made(web)["id"]
    one_of_them = f"{SUBSCRIPTIONS}/{name}"
    web.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    for method, path in [
        ("GET", SUBSCRIPTIONS),
        ("POST", SUBSCRIPTIONS),
        ("GET", one_of_them),
        ("PATCH", one_of_them),
        ("DELETE", one_of_them),
        ("POST", f"{one_of_them}/test"),
        ("GET", f"{one_of_them}/deliveries"),
        ("POST", f"{one_of_them}/deliveries/1/replay"),
    ]:
        answer = web.open(path, method=method, json={"enabled": False})
        assert (answer.status_code, path) == (401, path)
        assert answer.mimetype == "application/problem+json"


def test_a_subscription_is_disabled_enabled_and_deleted(web):
    path = f"{SUBSCRIPTIONS}/{made(web)['id']}"
    off = web.patch(path, json={"enabled": False}).get_json()
    assert (off["enabled"], off["disabled_reason"]) == (False, "disabled by hand")
    refused = web.post(f"{path}/test")
    assert refused.status_code == 409
    assert "disabled by hand" in refused.get_json()["detail"]
    on = web.patch(path, json={"enabled": True}).get_json()
    assert (on["enabled"], on["disabled_at"], on["disabled_reason"]) == (True, None, None)
    assert web.patch(path, json={"enabled": "yes"}).status_code == 422
    assert web.delete(path).status_code == 204
    for answer in (web.get(path), web.delete(path), web.patch(path, json={"enabled": True})):
        assert answer.status_code == 404
        assert answer.mimetype == "application/problem+json"


def test_there_are_at_most_a_hundred_subscriptions(web, database):
    with database.writing() as session:
        for _ in range(100):
            create_subscription(session, HOOK, SUBSCRIBABLE, "", NOW)
    assert web.post(SUBSCRIPTIONS, json={"url": HOOK}).status_code == 409


def test_a_test_event_goes_to_one_subscription_whatever_it_wants(web, database, receiver):
    name = made(web, types=["run.failed"])["id"]
    made(web)
    answer = web.post(f"{SUBSCRIPTIONS}/{name}/test")
    assert answer.status_code == 202
    told = answer.get_json()
    assert (told["type"], told["state"], told["attempts"]) == ("test", "pending", 0)
    with database.writing() as session:
        session.execute(update(Subscription).values(url=receiver.url()))
    with sending(database, receiver.host):
        until(lambda: all_are(database, "delivered"))
    (got,) = receiver.got()
    assert got.message_id == told["message_id"]
    assert got.verified(state_of(database, name).secret)["type"] == "test"
    listed = web.get(f"{SUBSCRIPTIONS}/{name}/deliveries").get_json()
    assert [each["status"] for each in listed["deliveries"]] == [204]


def test_deliveries_are_listed_page_by_page_and_replayed(web, database):
    name, other = made(web)["id"], made(web)["id"]
    put(database, *map(event, range(5)))
    path, seen = f"{SUBSCRIPTIONS}/{name}/deliveries", []
    answer = web.get(path, query_string={"limit": 2}).get_json()
    seen += answer["deliveries"]
    while answer["next"]:
        answer = web.get(path, query_string={"limit": 2, "cursor": answer["next"]}).get_json()
        seen += answer["deliveries"]
    assert [each["message_id"] for each in seen] == [
        event(number).message_id for number in (4, 3, 2, 1, 0)
    ]
    with database.writing() as session:
        session.execute(update(Delivery).values(state="failed", attempts=9, ended_at=NOW))
    replayed = web.post(f"{path}/{seen[0]['id']}/replay")
    assert replayed.status_code == 202
    told = replayed.get_json()
    assert told["message_id"] == seen[0]["message_id"]
    assert (told["state"], told["attempts"], told["ended_at"]) == ("pending", 0, None)
    elsewhere = f"{SUBSCRIPTIONS}/{other}/deliveries/{seen[0]['id']}/replay"
    assert web.post(elsewhere).status_code == 404
    assert web.post(f"{path}/999999/replay").status_code == 404
    assert web.post(f"{path}/{2**70}/replay").status_code == 422
    assert web.get(path, query_string={"cursor": "nonsense"}).status_code == 404
    assert web.get(path, query_string={"limit": 0}).status_code == 422


def test_the_openapi_document_tells_every_answer(web):
    paths = web.get("/api/v1/openapi.json").get_json()["paths"]
    told = {
        (path.removeprefix(SUBSCRIPTIONS), method): set(operation["responses"])
        for path, item in paths.items()
        if path.startswith(SUBSCRIPTIONS)
        for method, operation in item.items()
    }
    always = {"401", "403", "422", "429", "503"}
    one_of_them = "/{subscription_id}"
    assert told == {
        ("", "get"): always | {"200"},
        ("", "post"): always | {"201", "409"},
        (one_of_them, "get"): always | {"200", "404"},
        (one_of_them, "patch"): always | {"200", "404"},
        (one_of_them, "delete"): always | {"204", "404"},
        (f"{one_of_them}/test", "post"): always | {"202", "404", "409"},
        (f"{one_of_them}/deliveries", "get"): always | {"200", "404"},
        (f"{one_of_them}/deliveries/{{delivery_id}}/replay", "post"): always
        | {"202", "404", "409"},
    }


def test_what_ended_a_month_ago_is_forgotten(database):
    name = subscribe(database, "https://example.org/hook")
    with database.writing() as session:
        enqueue(session, event())
        enqueue(session, event(2))
        ended = {"state": "delivered", "ended_at": datetime.now(UTC) - timedelta(days=31)}
        first = session.scalars(select(Delivery.id)).first()
        session.execute(update(Delivery).where(Delivery.id == first).values(**ended))
        outgoing.forget_old(session, datetime.now(UTC))
        (left,), _ = outgoing.deliveries_to(session, name, 10)
    assert (left.state, left.id == first) == ("pending", False)

"""The REST API of webhook subscriptions."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry
from sqlalchemy import select, update

from notifier.events import SUBSCRIBED_TYPES
from notifier.pictures import Pictures
from notifier.store.database import Database
from notifier.store.subscriptions import create_subscription
from notifier.store.tables import Delivery, Subscription
from notifier.web.app import create_app
from notifier.web.changes import Changes
from notifier.web.context import Service, Tokens
from superres.pipeline.config import Notifier, Settings
from tests.support.http_server import until
from tests.support.webhooks import NOW, all_are, enqueue_all, event, find, sending

TOKEN = "0123456789abcdef"
SUBSCRIPTIONS = "/api/v1/subscriptions"
HOOK = "http://127.0.0.1:9/hook"


@pytest.fixture
def web(database: Database, tmp_path: Path) -> FlaskClient:
    """A client with the write token, of a service that allows 127.0.0.1:9."""
    service = Service(
        Settings(notifier=Notifier(allowed_hosts=("127.0.0.1:9", "Receiver.internal"))),
        database,
        Pictures(tmp_path / "cache", 1 << 24),
        Changes(database),
        Tokens(write=TOKEN, read="fedcba9876543210"),
        private=False,
        registry=CollectorRegistry(),
        ready=lambda: "",
    )
    client = create_app(service).test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {TOKEN}"
    return client


def create(web: FlaskClient, **body: Any) -> dict[str, Any]:
    answer = web.post(SUBSCRIPTIONS, json={"url": HOOK} | body)
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def test_a_subscription_returns_its_secret_once(web):
    answer = web.post(SUBSCRIPTIONS, json={"url": HOOK, "description": "Grüße"})
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    created = answer.get_json()
    secret = created.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert created["types"] == sorted(SUBSCRIBED_TYPES)
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


def test_invalid_fields_are_rejected_by_name(web, database):
    for body, name in BAD_FIELDS:
        # As text: Flask's client cannot send half a surrogate pair otherwise.
        content = json.dumps({"url": HOOK} | body)
        answer = web.post(SUBSCRIPTIONS, data=content, content_type="application/json")
        assert answer.status_code == 422, body
        assert answer.mimetype == "application/problem+json"
        assert [error["field"] for error in answer.get_json()["errors"]] == [name]
    with database.reading() as session:
        assert session.scalars(select(Subscription)).all() == []


def test_a_host_name_without_an_address_is_accepted(web):
    assert create(web, url="https://nobody.invalid/hook", types=["run.failed"])["enabled"]


@pytest.mark.parametrize("token", ["", "fedcba9876543210", "0123456789abcdeF"])
def test_every_request_needs_the_write_token(web, token):
    name = create(web)["id"]
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
    path = f"{SUBSCRIPTIONS}/{create(web)['id']}"
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
            create_subscription(session, HOOK, SUBSCRIBED_TYPES, "", NOW)
    assert web.post(SUBSCRIPTIONS, json={"url": HOOK}).status_code == 409


def test_a_test_event_goes_to_one_subscription_whatever_its_types(web, database, receiver):
    name = create(web, types=["run.failed"])["id"]
    create(web)
    answer = web.post(f"{SUBSCRIPTIONS}/{name}/test")
    assert answer.status_code == 202
    delivery = answer.get_json()
    assert (delivery["type"], delivery["state"], delivery["attempts"]) == ("test", "pending", 0)
    with database.writing() as session:
        session.execute(update(Subscription).values(url=receiver.url()))
    with sending(database, receiver.host):
        until(lambda: all_are(database, "delivered"))
    (got,) = receiver.requests()
    assert got.message_id == delivery["message_id"]
    assert got.verified(find(database, name).secret)["type"] == "test"
    listed = web.get(f"{SUBSCRIPTIONS}/{name}/deliveries").get_json()
    assert [each["status"] for each in listed["deliveries"]] == [204]


def test_deliveries_are_listed_page_by_page_and_replayed(web, database):
    name, other = create(web)["id"], create(web)["id"]
    enqueue_all(database, *map(event, range(5)))
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
    delivery = replayed.get_json()
    assert delivery["message_id"] == seen[0]["message_id"]
    assert (delivery["state"], delivery["attempts"], delivery["ended_at"]) == ("pending", 0, None)
    elsewhere = f"{SUBSCRIPTIONS}/{other}/deliveries/{seen[0]['id']}/replay"
    assert web.post(elsewhere).status_code == 404
    assert web.post(f"{path}/999999/replay").status_code == 404
    assert web.post(f"{path}/{2**70}/replay").status_code == 422
    assert web.get(path, query_string={"cursor": "nonsense"}).status_code == 404
    assert web.get(path, query_string={"limit": 0}).status_code == 422


def test_the_openapi_document_lists_every_response(web):
    paths = web.get("/api/v1/openapi.json").get_json()["paths"]
    documented = {
        (path.removeprefix(SUBSCRIPTIONS), method): set(operation["responses"])
        for path, item in paths.items()
        if path.startswith(SUBSCRIPTIONS)
        for method, operation in item.items()
    }
    always = {"401", "403", "422", "429", "503"}
    one_of_them = "/{subscription_id}"
    assert documented == {
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

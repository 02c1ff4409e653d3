"""Nothing that a whole run leaves behind or tells has a secret that was planted into it.

Planted are: signatures and passwords of URLs that are good, missing, redirected, cut off and no
URLs at all; position, names and serial numbers of photographs; every token of the services. The
only places that may have them are the topic, the stored photographs and what the test itself wrote.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pyarrow.parquet
import pytest

from superres.pipeline import storage
from superres.pipeline.records import Evaluation, RejectedImage
from tests.support import private_metadata
from tests.support.http_server import until
from tests.support.ingestion_processes import World
from tests.support.kafka_broker import PATIENCE, Broker
from tests.support.notifier_process import address
from tests.support.private_metadata import PLANTED
from tests.support.processes import Service
from tests.support.required_tools import require
from tests.support.upload_app import BOUNDARY, multipart_body
from tests.support.webhook_receiver import Receiver

pytestmark = [
    *(pytest.mark.kafka, pytest.mark.spark, pytest.mark.slow),
    pytest.mark.timeout(1500),  # forty seconds on two cores that do nothing else
]

TOKENS = {
    "SUPERRES_UPLOAD_TOKEN": f"{PLANTED}-upload-token",
    "SUPERRES_NOTIFIER_TOKEN": f"{PLANTED}-notifier-token",
    "AWS_SECRET_ACCESS_KEY": f"{PLANTED}-aws-key",
}
HOOK = "Hooked-91bc"
"""Stands in the URLs of receivers, which the notifier's database needs."""
QUERY = f"?X-Amz-Signature={PLANTED}&id="
STORED, REJECTED = 3, 7
KINDS = ("result", "original", "low", "bicubic", "difference")
PATHS = (
    *("/", "/?order=best", "/runs", "/api/v1/images", "/api/v1/totals", "/api/v1/runs"),
    *("/api/v1/openapi.json", "/metrics", "/readyz", "/login", "/api/v1/subscriptions", "/nothing"),
)


@dataclass(frozen=True)
class Told:
    """What was told to somebody, and by whom."""

    by: str
    content: bytes


@pytest.fixture
def world(broker: Broker, tmp_path: Path) -> Iterator[World]:
    require("java", "make system-packages")
    with World(broker, f"{tmp_path}/data", tmp_path / "scratch") as made:
        made.options |= {
            "INGESTION__ATTEMPTS": "1",
            "NOTIFIER__DATABASE_URL": f"sqlite:///{tmp_path}/notifier.db",
            "NOTIFIER__CACHE_DIR": f"{tmp_path}/cache",
            "NOTIFIER__PUBLIC_GALLERY": "true",
            "NOTIFIER__ALLOWED_HOSTS": '["127.0.0.1"]',
            "DATASET__PATCHES_DIR": f"{tmp_path}/data/work",
            "DATASET__INFERENCE_RESULT_DIR": f"{tmp_path}/data/work",
        }
        yield made


def write_list(world: World, folder: Path) -> Path:
    """A list of URLs, some of which are none."""
    serve, photo = world.source.serve, private_metadata.jpeg(100, 120)
    serve("/target.jpg", private_metadata.png(90, 120))
    urls = [
        serve("/good.jpg", photo),
        serve("/moved.jpg", redirect_to=f"/target.jpg{QUERY}"),
        serve("/gone.jpg", redirect_to=f"/missing-target.jpg{QUERY}"),
        world.source.url("/missing.jpg"),
        serve("/cut.jpg", photo, cut_at=1000),
        serve("/page.jpg", b"<html>"),
    ]
    lines = [{"url": f"{url}{QUERY}{number}"} for number, url in enumerate(urls)]
    lines[0] |= {"author": "Ada", "author_url": f"https://me:{PLANTED}@example.org/ada"}
    lines[1] |= {"source": f"{urls[1]}{QUERY}"}
    bad = [f"https://me:{PLANTED}@example.org/a", f"http://a:{PLANTED}/", f"ftp://a/{QUERY}"]
    listed = folder / "list.jsonl"
    listed.write_text("\n".join(map(json.dumps, [*lines, *({"url": url} for url in bad)])))
    return listed


def send_forged(world: World) -> None:
    """Messages that no producer of ours would send."""
    password = world.reference(f"https://me:{PLANTED}@{world.source.host}/a.jpg{QUERY}")
    unknown = json.loads(password.to_message()) | {"version": f"https://a/{QUERY}"}
    messages = [password.to_message(), json.dumps(unknown), f"https://a/{QUERY}"]
    headers: Any = [("from", f"https://me:{PLANTED}@example.org/".encode())]
    world.send(
        *((f"https://a/{QUERY}".encode(), each.encode()) for each in messages), headers=headers
    )


def upload(service: Service) -> Told:
    """Uploads a photograph with the token of the service."""
    until(lambda: bool(service.events("serving")), PATIENCE)
    headers = {
        "Authorization": f"Bearer {TOKENS['SUPERRES_UPLOAD_TOKEN']}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
    }
    body = multipart_body("boat.jpg", private_metadata.jpeg(80, 120))
    # The page's address, which takes uploads, too.
    with urlopen(Request(address(service), body, headers), timeout=PATIENCE) as response:
        return Told("the answer to an upload", response.read())


def ingest(world: World, listed: Path) -> list[Told]:
    """Produces and consumes; returns what the services told."""
    producer = world.start("produce", str(listed))
    assert producer.wait() == 3
    assert producer.log.count("superres: ") == 3  # one line for each bad one
    send_forged(world)
    uploads = world.start("uploads", "--port", "0")
    told = [upload(uploads)]
    consumer = world.consumer()
    until(lambda: consumer.metric("rejected_total") == REJECTED, PATIENCE)
    until(lambda: consumer.metric("stored_total") == STORED, PATIENCE)
    told += [
        Told(f"the consumer's {path}", consumer.page(path)[1].encode())
        for path in ("/metrics", "/readyz")
    ]
    for service in (consumer, uploads):
        service.terminate()
        assert service.wait() == 0
    return told


def subscribe(base: str, url: str) -> None:
    headers = {
        "Authorization": f"Bearer {TOKENS['SUPERRES_NOTIFIER_TOKEN']}",
        "Content-Type": "application/json",
    }
    body = json.dumps({"url": url}).encode()
    with urlopen(Request(f"{base}/api/v1/subscriptions", body, headers), timeout=PATIENCE):
        pass


def told_at(base: str, path: str, **headers: str) -> Told:
    try:
        with urlopen(Request(f"{base}{path}", headers=headers), timeout=PATIENCE) as response:
            return Told(path, response.read() + str(response.headers).encode())
    except HTTPError as error:
        with error:
            return Told(path, error.read() + str(error.headers).encode())


def told_to_strangers(base: str, records: list[Evaluation]) -> Iterator[Told]:
    """Every answer of the notifier to somebody who has not signed in."""
    for path in PATHS:
        for accept in ("text/html", "application/json"):
            yield told_at(base, path, Accept=accept)
    for record in records:
        yield told_at(base, f"/images/{record.result_id}", Accept="text/html")
        yield told_at(base, f"/api/v1/images/{record.result_id}")
        for kind in KINDS:
            for query in ("", "?width=320", "?download=1"):
                yield told_at(base, f"/pictures/{record.result_id}/{kind}{query}")


def told_in_files(folder: Path) -> Iterator[Told]:
    """Every file, the strings of tables too; but no stored photograph."""
    received = {folder / "data" / "high", folder / "data" / "low", folder / "scratch" / "uploads"}
    for path in folder.rglob("*"):
        if not path.is_file() or path.name == "list.jsonl":
            continue
        if path.suffix != ".json" and received & set(path.parents):
            continue
        yield Told(str(path), path.read_bytes())
        if path.suffix == ".parquet":
            rows = pyarrow.parquet.read_table(path).to_pylist()
            yield Told(str(path), repr(rows).encode())


def told_in_dead_letters(world: World) -> Iterator[Told]:
    for letter in world.dead_letters():
        parts = (letter.key(), letter.value(), letter.headers())
        yield Told(f"dead letter {letter.offset()}", repr(parts).encode())


def processed(world: World, data: Path) -> list[Evaluation]:
    """Runs the jobs; returns the records of the finished images."""
    date = min(data.glob("low/scale=2/ingest_date=*")).name.removeprefix("ingest_date=")
    run = world.start("run", "--ingest-date", date, "--scale", "2", "--master", "local[1]")
    assert run.wait(10 * PATIENCE) == 0, run.log
    evaluations = storage.list_files(f"{data}/results/evaluations")
    records = [Evaluation.from_json(storage.read_bytes(file.uri)) for file in evaluations]
    assert len(records) == STORED
    return records


@contextmanager
def notifier(world: World, receiver: Receiver) -> Iterator[tuple[Service, str]]:
    service = world.start("notify", "--port", "0")
    until(lambda: bool(service.events("listening")), PATIENCE)
    base = address(service)
    subscribe(base, receiver.url(f"/hook?key={HOOK}"))
    subscribe(base, f"http://127.0.0.1:1/{HOOK}")
    yield service, base
    until(lambda: bool(service.events("webhook_retried")), PATIENCE)
    service.terminate()
    assert service.wait() == 0


def has(told: list[Told], secret: str) -> list[str]:
    return [each.by for each in told if secret.encode() in each.content]


def test_nothing_planted_leaves_a_run(
    world: World, tmp_path: Path, receiver: Receiver, monkeypatch
):
    for name, token in TOKENS.items():
        monkeypatch.setenv(name, token)
    listed = write_list(world, tmp_path)
    told = ingest(world, listed)
    with notifier(world, receiver) as (_, base):
        records = processed(world, tmp_path / "data")
        until(lambda: len(receiver.requests("/hook")) == STORED + 1, PATIENCE)
        shown = list(told_to_strangers(base, records))
        original = private_metadata.jpeg(100, 120)
        (ours,) = (each for each in records if "good.jpg" in each.source)
        bearer = f"Bearer {TOKENS['SUPERRES_NOTIFIER_TOKEN']}"
        signed_in = told_at(base, f"/pictures/{ours.result_id}/original", Authorization=bearer)
        assert signed_in.content.startswith(original)
    shown += [Told("a webhook", request.body) for request in receiver.requests("/hook")]
    shown += told
    letters = list(told_in_dead_letters(world))
    assert len(letters) == REJECTED
    left = [*told_in_files(tmp_path), *letters]
    # What is searched is what is meant: everything is there, and readable by name and host.
    assert has(left, f"{world.source.host}/missing.jpg#")
    assert has(shown, f"{world.source.host}/good.jpg#")
    rejections = storage.list_files(f"{tmp_path}/data/results/rejected")
    reasons = [RejectedImage.from_json(storage.read_bytes(file.uri)).reason for file in rejections]
    assert len(reasons) == REJECTED
    assert has([*left, *shown], PLANTED) == []
    elsewhere = [each for each in [*left, *shown] if "notifier.db" not in each.by]
    assert has(elsewhere, HOOK) == []
    assert has(shown, str(tmp_path)) == []

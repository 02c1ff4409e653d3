"""SIGTERM ends every service in time, whatever its clients, sources and receivers do meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.example_gallery import TOKEN, Gallery
from tests.support.http_server import HttpServer, PicsumEntry, until
from tests.support.image_files import noise, photo, png
from tests.support.ingestion_processes import World
from tests.support.kafka_broker import PATIENCE, Broker
from tests.support.notifier_process import address, answer, notify
from tests.support.processes import Service
from tests.support.slow_clients import SlowClients, request
from tests.support.upload_app import TOKEN as UPLOAD_TOKEN
from tests.support.upload_process import upload, upload_service

pytestmark = pytest.mark.slow
DRAIN = 2.0
BOUND = DRAIN + 10
# Replaces the storing of an image by what no event interrupts.
BUSY = """
import sys, time
import ingestion.consumer.handling as handling
handling.store_image = lambda *_: print("busy", flush=True) or time.sleep(600)
from superres.cli.main import main
main()
"""


@pytest.fixture
def source() -> Iterator[HttpServer]:
    with HttpServer() as opened:
        yield opened


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts commands, which are killed after the test at the latest."""
    services: list[Service] = []

    def start(*arguments: str, **environment: str) -> Service:
        services.append(Service(arguments, environment, tmp_path / arguments[0]))
        return services[-1]

    yield start
    for service in services:
        service.kill()


@pytest.fixture
def world(broker: Broker, tmp_path: Path) -> Iterator[World]:
    with World(broker, str(tmp_path / "data"), tmp_path / "scratch") as new:
        new.options["INGESTION__DRAIN_SECONDS"] = str(DRAIN)
        yield new


def seconds_to_end(service: Service, code: int = 0) -> float:
    """How long a service takes to end after SIGTERM."""
    began = time.monotonic()
    service.terminate()
    assert service.wait(PATIENCE) == code, service.log
    took = time.monotonic() - began
    print(f"ended after {took:.1f} s")
    assert "Traceback" not in service.log
    return took


# ---- the consumer


@pytest.mark.kafka
@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"drip_seconds": 0.2}, id="dripping"),
        pytest.param({"hold_seconds": 300.0}, id="silent"),
        pytest.param({"header_drip_seconds": 0.2}, id="dripping-headers"),
    ],
)
def test_a_slow_source_does_not_keep_the_consumer(world, how):
    slow, quick = world.offer(4, "slow", **how), world.offer(1)
    world.publish(*quick)
    consumer = world.consumer()
    until(lambda: len(world.stored()) == 1, PATIENCE)
    world.publish(*slow)
    until(lambda: sum(world.source.hits[f"/slow-{n}.png"] for n in range(4)) >= 3, PATIENCE)
    assert seconds_to_end(consumer) < BOUND
    # None is lost: the next consumer receives them again.
    for number, reference in enumerate(slow):
        world.source.serve(f"/slow-{number}.png", world.good[reference.image_id][1])
    world.consumer()
    world.settle()


@pytest.mark.kafka
def test_a_thread_that_cannot_be_interrupted_does_not_keep_the_consumer(world):
    world.publish(*world.offer(2))
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, "consume"],
        env=os.environ | world.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        assert time.monotonic() - began < BOUND
        assert "0 images stored" in process.stdout.read()
    finally:
        process.kill()
        process.communicate()
    assert not world.watch.committed()
    world.consumer()
    world.settle()


@pytest.mark.kafka
def test_storage_that_does_not_work_does_not_keep_the_consumer(world):
    Path(world.base).mkdir(parents=True)
    low = Path(world.base) / "low"
    low.write_text("no folder")
    world.publish(*world.offer(2))
    consumer = world.consumer()
    until(lambda: bool(consumer.events("storage_failed")), PATIENCE)
    assert seconds_to_end(consumer) < BOUND
    assert not world.watch.committed()
    low.unlink()
    world.consumer()
    world.settle()


# ---- producers and starts


@pytest.mark.kafka
@pytest.mark.parametrize("how", [{"drip_seconds": 0.5}, {"hold_seconds": 300.0}], ids=str)
def test_a_slow_list_does_not_keep_the_producer(world, how):
    world.source.serve("/v2/list", b"[" + b" " * 1000, **how)
    world.options["INGESTION__PICSUM_URL"] = f"http://{world.source.host}"
    producer = world.start("produce", "picsum:")
    until(lambda: any("/v2/list" in target for target in world.source.hits), PATIENCE)
    assert seconds_to_end(producer) < BOUND


@pytest.mark.parametrize("how", [{"drip_seconds": 0.5}, {"hold_seconds": 300.0}], ids=str)
def test_a_slow_source_does_not_keep_ingest_without_a_broker(source, started, how):
    source.serve("/id/1/64/48.jpg", png(photo(48, 64)), **how)
    base = source.serve_picsum([PicsumEntry("1")], lambda *_: b"")
    environment = {
        "SUPERRES_KAFKA__ENABLED": "false",
        "SUPERRES_INGESTION__PICSUM_URL": base,
        "SUPERRES_INGESTION__ALLOWED_HOSTS": f"['{source.host}']",
        "SUPERRES_INGESTION__DRAIN_SECONDS": str(DRAIN),
    }
    service = started("ingest", "picsum:64x48", **environment)
    until(lambda: source.hits["/id/1/64/48.jpg"] > 0, PATIENCE)
    assert seconds_to_end(service, 143) < BOUND
    assert "0 images stored" in service.output


def test_a_silent_queue_does_not_keep_what_starts_runs(source, started):
    source.serve("/", hold_seconds=300.0)
    machine = "arn:aws:states:eu-central-1:123456789012:stateMachine:runs"
    environment = {
        "AWS_ENDPOINT_URL": f"http://{source.host}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "SUPERRES_STARTS__QUEUE_URL": source.url("/queue"),
        "SUPERRES_STARTS__STATE_MACHINE_ARN": machine,
        "SUPERRES_STARTS__PORT": "0",
        "SUPERRES_INGESTION__DRAIN_SECONDS": str(DRAIN),
    }
    service = started("start-runs", **environment)
    until(lambda: source.connections > 0, PATIENCE)
    assert seconds_to_end(service) < BOUND


# ---- uploads and the notifier


def test_slow_clients_do_not_keep_the_uploads(tmp_path):
    uploading = request(
        "POST",
        "/uploads",
        f"Authorization: Bearer {UPLOAD_TOKEN}",
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Length: 1000000",
    )
    (tmp_path / "tmp").mkdir()
    given = {"SUPERRES_INGESTION__DRAIN_SECONDS": str(DRAIN), "TMPDIR": str(tmp_path / "tmp")}
    with (
        upload_service(tmp_path, **given) as (port, service),
        SlowClients(port, 60, uploading + b"--b\r\n", b"a"),
        SlowClients(port, 60, b"POST /uploads HTTP/1.1\r\nX-Slow: ", b"a"),
    ):
        assert upload(port)[0] == 202
        assert seconds_to_end(service) < BOUND
    # What was being received is gone.
    assert [path.name for path in (tmp_path / "tmp").glob("superres-*")] == []


def test_slow_clients_and_receivers_do_not_keep_the_notifier(source, tmp_path):
    gallery = Gallery(tmp_path)
    image = gallery.finish(png(noise(900, 900, 3, 8)), mode="upscale")
    source.serve("/hook", hold_seconds=300.0)
    config = {
        "dataset": gallery.settings.dataset.model_dump(),
        "notifier": {"allowed_hosts": [source.host]},
    }
    reading = request("GET", f"/pictures/{image.result_id}/result")
    with notify(tmp_path, config) as service:
        at = address(service)
        port = int(at.rpartition(":")[2])
        until(lambda: answer(f"{at}/api/v1/totals")["images"] == 1, PATIENCE)
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        body = json.dumps({"url": source.url("/hook"), "types": ["image.finished"]})
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/subscriptions", body, headers)
        assert connection.getresponse().status == 201
        connection.close()
        gallery.finish(png(photo(40, 40, seed=1)), "other.png", recorded=False)
        until(lambda: source.hits["/hook"] > 0, PATIENCE)
        with (
            SlowClients(port, 40, request("GET", "/events")),
            SlowClients(port, 40, b"GET / HTTP/1.1\r\nX-Slow: ", b"a"),
            SlowClients(port, 40, reading),
        ):
            assert seconds_to_end(service) < 30
    gallery.close()

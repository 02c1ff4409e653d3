"""Hundreds of clients that are slow on purpose hold up neither uploads nor the page."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from superres.service.supervisor import free_port
from tests.support.example_gallery import TOKEN, Gallery
from tests.support.http_server import until
from tests.support.image_files import noise, photo, png
from tests.support.kafka_broker import PATIENCE
from tests.support.notifier_process import address, answer, notify
from tests.support.slow_clients import SlowClients, request
from tests.support.upload_app import BOUNDARY, GOOD, multipart_body
from tests.support.upload_app import TOKEN as UPLOAD_TOKEN
from tests.support.upload_process import status_of, upload, upload_service

COUNT = 400
ANSWERED_SECONDS = 8.0  # 2 s on a machine of its own
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
UPLOADING = request(
    "POST",
    "/uploads",
    f"Authorization: Bearer {UPLOAD_TOKEN}",
    "Content-Type: multipart/form-data; boundary=b",
    "Content-Length: 1000000",
)
RUN = "\nfrom superres.cli.main import main\nmain()"
NOT_LOCAL = "import superres.service.worker as it; it.is_loopback = lambda address: False"
IMPATIENT = "import superres.service.pace as it; it.SILENT_SECONDS = 3.0"
BRIEFLY_LINGERING = (
    "import superres.service.worker as it; it._LINGER_AT_MOST = 5.0; it._MAX_LINGERING = 10"
)
# Where a server that is about to close waits for the client to do so first.
CLOSING = request("GET", "/healthz", "Connection: close")
CHUNKED_LOGIN = request("POST", "/login", "Transfer-Encoding: chunked") + b"5\r\ntoken\r\n"
LOGIN = request(
    "POST", "/login", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 1000"
)


@pytest.mark.parametrize(
    ("beginning", "drip"),
    [
        pytest.param(HALF_A_HEAD, b"a", id="heads"),
        pytest.param(UPLOADING, b"a", id="bodies"),
        pytest.param(UPLOADING.replace(b"Bearer", b"Basic"), b"a", id="no-token"),
        pytest.param(CLOSING, b"", id="closing"),
    ],
)
def test_slow_clients_do_not_hold_up_uploads(tmp_path, beginning, drip):
    with upload_service(tmp_path) as (port, _), SlowClients(port, COUNT, beginning, drip):
        for _ in range(3):
            began = time.monotonic()
            assert upload(port)[0] == 202
            uploaded = time.monotonic()
            assert status_of(port, "GET", "/uploads") == 200
            print(f"upload {uploaded - began:.2f} s, page {time.monotonic() - uploaded:.2f} s")
            assert time.monotonic() - began < 2 * ANSWERED_SECONDS


@pytest.mark.parametrize(
    ("beginning", "drip"),
    [
        pytest.param(HALF_A_HEAD, b"a", id="heads"),
        pytest.param(LOGIN, b"a", id="bodies"),
        pytest.param(CHUNKED_LOGIN, b"1\r\na\r\n", id="chunks"),
        pytest.param(CLOSING, b"", id="closing"),
        pytest.param(b"", b"", id="silence"),
    ],
)
def test_slow_clients_do_not_hold_up_the_page(tmp_path, beginning, drip):
    config = {"dataset": {"reconstructed_images_dir": str(tmp_path / "results")}}
    with notify(tmp_path, config) as service:
        at = address(service)
        port = int(at.rpartition(":")[2])
        with SlowClients(port, COUNT, beginning, drip):
            for _ in range(3):
                began = time.monotonic()
                assert answer(f"{at}/api/v1/totals")["images"] == 0
                print(f"page {time.monotonic() - began:.2f} s")
                assert time.monotonic() - began < ANSWERED_SECONDS


def test_clients_that_read_no_picture_hold_up_nobody_and_pages_stay_live(tmp_path):
    gallery = Gallery(tmp_path)
    image = gallery.finish(png(noise(900, 900, 3, 8)), mode="upscale")
    with notify(tmp_path, {"dataset": gallery.settings.dataset.model_dump()}) as service:
        at = address(service)
        port = int(at.rpartition(":")[2])
        until(lambda: answer(f"{at}/api/v1/totals")["images"] == 1, PATIENCE)
        page = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        page.request("GET", "/events")
        live = page.getresponse()
        assert live.status == 200
        first = _next_number(live)
        reading = request("GET", f"/pictures/{image.result_id}/result", f"Authorization: {TOKEN}")
        with SlowClients(port, COUNT, reading):
            began = time.monotonic()
            assert status_of(port, "GET", "/") == 200
            assert time.monotonic() - began < ANSWERED_SECONDS
            gallery.finish(png(photo(40, 40, seed=1)), "other.png", recorded=False)
            assert _next_number(live) > first
        page.close()
    gallery.close()


def test_an_unfinished_head_is_refused_in_time_and_what_it_held_is_free(tmp_path):
    with upload_service(tmp_path) as (port, _):
        with SlowClients(port, 40, HALF_A_HEAD, b"a") as clients:
            until(lambda: clients.ended == 40, PATIENCE)
        assert upload(port)[0] == 202


def test_of_too_many_uploads_at_once_some_come_later(tmp_path):
    with upload_service(tmp_path) as (port, _):
        with SlowClients(port, 460, UPLOADING, b"a"):
            assert upload(port)[0] == 503
            assert status_of(port, "GET", "/uploads") == 200
        until(lambda: upload(port)[0] == 202, PATIENCE)


def test_of_more_clients_than_there_is_room_for_the_longest_waiting_go(tmp_path):
    with upload_service(tmp_path) as (port, _), SlowClients(port, 1800, HALF_A_HEAD) as clients:
        assert upload(port)[0] == 202
        assert 200 < clients.ended < 1700


def test_one_client_has_so_many_connections_and_others_are_served(tmp_path):
    """As if this machine's addresses were those of others."""
    with changed_service(tmp_path, NOT_LOCAL) as port:
        with SlowClients(port, 128, HALF_A_HEAD):
            assert status_of(port, "GET", "/uploads") == 429
            other = HTTPConnection("127.0.0.1", port, PATIENCE, source_address=("127.0.0.2", 0))
            other.request("GET", "/uploads")
            assert other.getresponse().status == 200
            other.close()
        until(lambda: status_of(port, "GET", "/uploads") == 200, PATIENCE)


def test_a_body_is_cut_when_it_is_too_slow_and_not_when_it_only_takes_long(tmp_path):
    with changed_service(tmp_path, IMPATIENT) as port:
        body = multipart_body("boat.png", GOOD + b"\0" * 60_000)
        length = UPLOADING.replace(b"1000000", str(len(body)).encode()).replace(
            b"boundary=b", f"boundary={BOUNDARY}".encode()
        )
        began = time.monotonic()
        with (
            SlowClients(port, 20, UPLOADING, b"a") as slow,
            socket.create_connection(("127.0.0.1", port), PATIENCE) as steady,
        ):
            steady.sendall(length)
            for start in range(0, len(body), 10_000):
                steady.sendall(body[start : start + 10_000])
                time.sleep(1)  # for twice as long as anybody may be silent
            assert time.monotonic() - began > 6
            assert steady.recv(1 << 16).startswith(b"HTTP/1.1 202 ")
            until(lambda: slow.ended == 20, PATIENCE)


def test_a_refusal_reaches_those_who_send_their_whole_body_first(tmp_path):
    with upload_service(tmp_path) as (port, _):
        assert upload(port, GOOD + bytes(20_000_000), token="wrong")[0] == 401
        assert upload(port)[0] == 202


def test_who_sends_on_for_ever_after_a_refusal_is_cut_and_holds_up_nobody(tmp_path):
    refused = UPLOADING.replace(b"Bearer", b"Basic").replace(b"1000000", b"900000000000")
    with (
        changed_service(tmp_path, BRIEFLY_LINGERING) as port,
        socket.create_connection(("127.0.0.1", port), PATIENCE) as endless,
    ):
        endless.sendall(refused)
        assert endless.recv(1 << 16).startswith(b"HTTP/1.1 401 ")
        with pytest.raises(ConnectionError):
            send_for(PATIENCE, endless)
        with SlowClients(port, 40, refused, b"a"):
            assert upload(port)[0] == 202
            assert upload(port, GOOD + bytes(20_000_000), token="wrong")[0] == 401


def send_for(seconds: float, connection: socket.socket) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        connection.sendall(bytes(1 << 20))


@contextmanager
def changed_service(folder: Path, change: str) -> Iterator[int]:
    """Runs the upload service with a changed constant, on the port that is yielded."""
    port = free_port()
    environment = {"SUPERRES_UPLOAD_TOKEN": UPLOAD_TOKEN, "SUPERRES_KAFKA__ENABLED": "false"}
    process = subprocess.Popen(
        [sys.executable, "-c", change + RUN, "uploads", "--port", str(port)],
        env=os.environ | environment,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: status_of(port, "GET", "/healthz") == 200, PATIENCE)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _next_number(live) -> int:
    while True:
        line = live.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            return int(line.removeprefix(b"data: "))

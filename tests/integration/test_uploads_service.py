"""`superres uploads` as a process with a real broker, S3 and browser."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from superres.pipeline.records import ImageReference, image_id_of
from superres.service.supervisor import free_port
from tests.support import image_files
from tests.support.chromium import chromium
from tests.support.kafka_broker import Broker
from tests.support.upload_app import BEARER, BOUNDARY, GOOD, TOKEN, UploadApp, multipart_body

# Drops a file beside the drop zone, as people do.
DROP = """
const dropped = new DataTransfer();
dropped.items.add(new File(["<html>"], "dropped.jpg", { type: "image/jpeg" }));
document.body.dispatchEvent(
  new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
"""


@contextmanager
def service(folder: Path, broker: Broker, topic: str) -> Iterator[tuple[int, Any]]:
    """Runs ``superres uploads``; yields its port and process."""
    port = free_port()
    given = {
        "SUPERRES_UPLOAD_TOKEN": TOKEN,
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_INGESTION__MODE": "upscale",
        "SUPERRES_PROCESSING__MAX_MEGAPIXELS": "100",
    }
    command = [str(Path(sys.executable).with_name("superres")), "uploads", "--port", str(port)]
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=folder, stderr=stream, env=os.environ | broker.environment | given
        )
    try:
        deadline = time.monotonic() + 30
        while not is_ready(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield port, process
    finally:
        process.terminate()
        process.wait(30)
    assert TOKEN not in log.read_text()
    assert all(json.loads(line)["event"] for line in log.read_text().splitlines())


def is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.localstack
@pytest.mark.slow
def test_uploads_can_be_stored_in_s3(tmp_path, bucket, local_cloud):
    app = UploadApp(tmp_path, ingestion={"uploads_dir": f"s3://{bucket}/uploads"})
    assert app.send(("boat.png", GOOD)).status_code == 202
    key = f"uploads/{sha256(GOOD).hexdigest()}.png"
    assert app.published[0].url.full == f"s3://{bucket}/{key}"
    assert local_cloud.s3().get_object(Bucket=bucket, Key=key)["Body"].read() == GOOD


@pytest.mark.kafka
def test_an_upload_is_produced_to_kafka_and_finishes_after_sigterm(broker, tmp_path):
    topic = broker.create_topic()
    body = multipart_body("boat.png", GOOD)
    headers = BEARER | {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    with service(tmp_path, broker, topic) as (port, process):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/uploads", body, headers)
        answer = connection.getresponse()
        assert answer.status == 202
        (image,) = json.load(answer)["images"]
        (message,) = broker.received(topic, 1)
        reference = ImageReference.from_json(message)
        assert reference.image_id == image["image_id"]
        assert Path(unquote(urlsplit(reference.url.full).path)).read_bytes() == GOOD
        connection.close()

        other = image_files.png(image_files.photo(200, 200, seed=1))
        body = multipart_body("late.png", other)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["POST /uploads HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
            slow.sendall("\r\n".join([*head, "", ""]).encode() + body[: len(body) // 2])
            time.sleep(0.5)  # the service is reading it by then
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
            slow.sendall(body[len(body) // 2 :])
            response = b""
            while received := slow.recv(1 << 16):
                response += received
        assert response.startswith(b"HTTP/1.1 202 ")
        assert process.wait(30) == 0
    ids = {ImageReference.from_json(value).image_id for value in broker.received(topic, 2)}
    assert len(ids) == 2
    assert image_id_of("upscale", 2, f"upload:{sha256(other).hexdigest()}") in ids


@pytest.mark.kafka
@pytest.mark.chromium
def test_the_page_uploads_files_in_a_real_browser(broker, tmp_path):
    image_files.write_all({"boat.png": GOOD, "bomb.png": image_files.bombs()["bomb.png"]}, tmp_path)
    topic = broker.create_topic()
    with service(tmp_path, broker, topic) as (port, _), chromium() as page:
        page.open(f"http://127.0.0.1:{port}/uploads#token={TOKEN}")
        assert page.run("location.href") == f"http://127.0.0.1:{port}/uploads"
        page.choose_files("#files", tmp_path / "boat.png")
        page.wait("document.querySelector('li.accepted .image-id')?.textContent")
        shown = page.run("document.querySelector('.image-id').textContent")
        (message,) = broker.received(topic, 1)
        assert ImageReference.from_json(message).image_id == shown
        assert page.complaints == []

        page.choose_files("#files", tmp_path / "bomb.png")
        page.wait("document.querySelector('li.rejected')")
        assert "50,000 × 50,000" in page.run("document.querySelector('li.rejected').innerText")
        assert "bomb.png: Rejected" in page.run("document.querySelector('[role=status]').innerText")
        # Chromium itself logs every response that is an error.
        assert all("422" in complaint for complaint in page.complaints)

        page.run(DROP)
        page.wait("document.querySelectorAll('li.rejected').length === 2")
        assert "dropped.jpg" in page.run("document.querySelector('li:last-child').innerText")

        page.open("about:blank")
        page.open(f"http://127.0.0.1:{port}/uploads")
        assert page.run("document.getElementById('token').value") == TOKEN  # kept in this tab
        reached = []
        for _ in range(2):
            page.press("Tab", 9)
            reached.append(page.run("document.activeElement.id"))
        assert reached == ["token", "files"]

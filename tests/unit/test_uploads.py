"""Uploads: what is taken, what is refused, what is published, and the page in a real browser."""

import http.client
import io
import json
import os
import re
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
from click.testing import CliRunner

from superres.errors import ConfigError, TransferError
from superres.pipeline.config import Kafka, validated
from superres.pipeline.records import ImageReference, image_id_of
from tests.support import image_files
from tests.support.chromium import chromium
from tests.support.kafka_broker import Broker, free_port

TOKEN = "a-token-of-these-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GOOD = image_files.png(image_files.photo(24, 32))
# Dropped beside the field that invites it, as people do.
DROP = """
const dropped = new DataTransfer();
dropped.items.add(new File(["<html>"], "dropped.jpg", { type: "image/jpeg" }));
document.body.dispatchEvent(
  new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
"""
BOUNDARY = "---------------------------41184676334"


class Desk:
    """The application with everything it published."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        from ingestion.uploads.app import create_app

        self.uploads = folder / "uploads"
        ingestion = {"uploads_dir": str(self.uploads)} | sections.pop("ingestion", {})
        dataset = {"reconstructed_images_dir": str(folder / "results")}
        content = {"ingestion": ingestion, "dataset": dataset} | sections
        self.published: list[ImageReference] = []
        self.broken = ""
        self.app = create_app(validated(content, "test"), TOKEN, self.publish, lambda: self.broken)
        self.client = self.app.test_client()

    def publish(self, references):
        if self.broken:
            raise TransferError(self.broken)
        self.published.extend(references)

    def send(self, *files: tuple[str, bytes], headers=BEARER, **fields: str):
        data = {"files": [(io.BytesIO(content), name) for name, content in files], **fields}
        return self.client.post("/uploads", data=data, headers=headers)

    @property
    def stored(self) -> list[str]:
        return sorted(path.name for path in self.uploads.iterdir()) if self.uploads.exists() else []


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def small(tmp_path: Path, **processing: float) -> Desk:
    return Desk(tmp_path, processing=processing)


# ---- what is taken


def test_an_image_is_stored_under_its_digest_and_published(desk):
    answer = desk.send(("boat.jpeg", GOOD))
    assert answer.status_code == 202
    digest = sha256(GOOD).hexdigest()
    assert desk.stored == [f"{digest}.png"]  # by content, not by name
    (reference,) = desk.published
    assert reference.image_id == image_id_of("evaluate", 2, f"upload:{digest}")
    assert reference.url == (desk.uploads / f"{digest}.png").as_uri()
    assert reference.source == "upload:boat.jpeg"
    (image,) = answer.json["images"]
    assert image["name"] == "boat.jpeg"
    assert image["image_id"] == reference.image_id
    day = f"ingest_date={reference.ingest_date}/{reference.image_id}"
    assert unquote(image["result"]).endswith(f"/results/images/scale=2/{day}.png")
    assert unquote(image["evaluation"]).endswith(f"/results/evaluations/scale=2/{day}.json")
    assert answer.json["rejected"] == []


def test_the_form_may_ask_for_another_mode_and_scale(desk):
    desk.send(("boat.png", GOOD), mode="upscale", scale="4")
    (reference,) = desk.published
    assert (reference.mode, reference.scale) == ("upscale", 4)


@pytest.mark.parametrize(("field", "value"), [("mode", "enlarge"), ("scale", "5")])
def test_a_mode_or_scale_that_does_not_exist_is_named(desk, field, value):
    answer = desk.send(("boat.png", GOOD), **{field: value})
    assert answer.status_code == 400
    assert repr(value) in answer.json["detail"]
    assert not desk.published


def test_sending_again_is_the_same_upload(desk):
    ids = {desk.send((name, GOOD)).json["images"][0]["image_id"] for name in ("a.png", "b.png")}
    assert len(ids) == len(desk.stored) == 1


def test_one_bad_file_does_not_keep_the_others_out(desk):
    other = image_files.pillow(image_files.photo(20, 20), "JPEG")
    answer = desk.send(("a.png", GOOD), ("page.jpg", b"<html>"), ("b.jpg", other))
    assert answer.status_code == 202
    assert [image["name"] for image in answer.json["images"]] == ["a.png", "b.jpg"]
    (rejected,) = answer.json["rejected"]
    assert rejected["name"] == "page.jpg"
    assert "HTML" in rejected["reason"]
    assert len(desk.published) == len(desk.stored) == 2
    metrics = desk.client.get("/metrics").text
    assert "superres_uploads_images_total 2.0" in metrics
    assert "superres_uploads_rejected_total 1.0" in metrics
    assert f"superres_uploads_bytes_total {float(len(GOOD + other))}" in metrics


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\boot.ini",
        "....//x.png",
        "写真.png",
        "a\x00b",
        ".",
    ],
)
def test_a_name_leads_nowhere(desk, tmp_path, name):
    answer = desk.send((name, GOOD))
    assert answer.status_code == 202
    assert desk.stored == [f"{sha256(GOOD).hexdigest()}.png"]
    assert [path.name for path in tmp_path.iterdir()] == ["uploads"]
    assert re.fullmatch(r"upload:[A-Za-z0-9_.-]+", desk.published[0].source)


@pytest.mark.localstack
@pytest.mark.slow
def test_uploads_may_lie_in_s3(tmp_path, bucket, local_cloud):
    desk = Desk(tmp_path, ingestion={"uploads_dir": f"s3://{bucket}/uploads"})
    assert desk.send(("boat.png", GOOD)).status_code == 202
    key = f"uploads/{sha256(GOOD).hexdigest()}.png"
    assert desk.published[0].url == f"s3://{bucket}/{key}"
    assert local_cloud.s3().get_object(Bucket=bucket, Key=key)["Body"].read() == GOOD


# ---- what is refused


@pytest.mark.parametrize(
    ("name", "content"), (image_files.not_images() | image_files.bombs()).items()
)
def test_bad_images_are_rejected_with_their_reason(tmp_path, name, content):
    desk = small(tmp_path, max_megapixels=100)
    answer = desk.send((name, content))
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    (rejected,) = answer.json["rejected"]
    assert rejected["name"] == name
    assert rejected["reason"]
    assert "superres-" not in rejected["reason"]  # nothing of where it lay
    assert (desk.published, desk.stored) == ([], [])


def test_a_file_over_the_limit_is_rejected_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    desk = small(tmp_path, max_megabytes=0.1)
    answer = desk.send(("large.png", GOOD + bytes(200_000)), ("boat.png", GOOD))
    assert answer.status_code == 202
    (rejected,) = answer.json["rejected"]
    assert "over the limit of 104,857" in rejected["reason"]
    assert len(desk.stored) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["uploads"]  # temporary files are gone


def test_a_request_over_the_limit_is_refused(tmp_path):
    desk = small(tmp_path, max_megabytes=0.1)
    many = desk.send(*(("boat.png", GOOD) for _ in range(20)))
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    body = form("large.png", bytes(4 << 20))
    large = desk.client.post("/uploads", data=body, content_type=kind, headers=BEARER)
    for answer in (many, large):
        assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")
        assert "16 files" in answer.json["detail"]
    assert not desk.published


def test_what_is_to_be_reduced_first_may_be_larger_by_the_scale(tmp_path):
    desk = small(tmp_path, max_megapixels=0.001)
    content = image_files.png(image_files.photo(60, 60))
    assert desk.send(("boat.png", content), mode="evaluate").status_code == 202
    assert desk.send(("boat.png", content), mode="upscale").status_code == 422


@pytest.mark.parametrize(
    "header",
    [None, "", TOKEN, "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer tökén"],
)
def test_without_the_token_nothing_is_taken(desk, header):
    headers = {} if header is None else {"Authorization": header}
    answer = desk.send(("boat.png", GOOD), headers=headers)
    assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert (desk.published, desk.stored) == ([], [])


def test_a_request_without_a_file_is_told_so(desk):
    for answer in (
        desk.send(),
        desk.send(("", b"")),
        desk.client.post("/uploads", data=GOOD, content_type="image/png", headers=BEARER),
        desk.client.post("/uploads", data={"file": (io.BytesIO(GOOD), "a")}, headers=BEARER),
    ):
        assert answer.status_code == 400
        assert "files" in answer.json["detail"]


def test_kafka_or_storage_that_fails_asks_to_come_again(desk, tmp_path):
    desk.broken = "broker 10.1.2.3 is down"
    assert desk.client.get("/readyz").status_code == 503
    unpublished = desk.send(("boat.png", GOOD))
    desk.broken = ""
    assert desk.client.get("/readyz").status_code == 200
    (tmp_path / "results").write_text("")
    desk = Desk(tmp_path, ingestion={"uploads_dir": str(tmp_path / "results")})
    for answer in (unpublished, desk.send(("boat.png", GOOD))):
        assert (answer.status_code, answer.mimetype) == (503, "application/problem+json")
        assert int(answer.headers["Retry-After"]) > 0
        assert "10.1.2.3" not in answer.text
        assert str(tmp_path) not in answer.text


def test_an_error_of_ours_shows_nothing_of_itself(desk):
    desk.published = None  # so that publishing raises an AttributeError
    answer = desk.send(("boat.png", GOOD))
    assert (answer.status_code, answer.mimetype) == (500, "application/problem+json")
    assert "NoneType" not in answer.text


def test_the_page_and_its_files_allow_nothing_inline(desk):
    page = desk.client.get("/uploads")
    assert page.status_code == 200
    paths = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert len(paths) == 2
    assert all(path.startswith("/uploads/static/") for path in paths)
    for path in ["/uploads", "/uploads/", *paths]:
        answer = desk.client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        answer.close()


@pytest.mark.parametrize("token", ["", "  ", "two words", "größe"])
def test_there_is_no_service_without_a_token(token):
    from ingestion.cli.uploads import uploads

    result = CliRunner().invoke(uploads, ["--port", "0"], env={"SUPERRES_UPLOAD_TOKEN": token})
    assert isinstance(result.exception, ConfigError)
    assert "SUPERRES_UPLOAD_TOKEN" in str(result.exception)


# ---- the real service


@contextmanager
def service(folder: Path, broker: Broker, topic: str) -> Iterator[tuple[int, Any]]:
    """``superres uploads`` in a process of its own; gives its port."""
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


def form(name: str, content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    return f"{head}{kind}".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.mark.kafka
def test_an_upload_over_http_is_on_the_topic_and_outlives_sigterm(broker, tmp_path):
    topic = broker.create_topic()
    body = form("boat.png", GOOD)
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
        assert Path(unquote(urlsplit(reference.url).path)).read_bytes() == GOOD
        connection.close()

        other = image_files.png(image_files.photo(200, 200, seed=1))
        body = form("late.png", other)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = ["POST /uploads HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines]
        with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
            slow.sendall("\r\n".join([*head, "", ""]).encode() + body[: len(body) // 2])
            time.sleep(0.5)  # it is being read by then
            process.send_signal(signal.SIGTERM)
            time.sleep(1)
            slow.sendall(body[len(body) // 2 :])
            told = b""
            while got := slow.recv(1 << 16):
                told += got
        assert told.startswith(b"HTTP/1.1 202 ")
        assert process.wait(30) == 0
    ids = {ImageReference.from_json(value).image_id for value in broker.received(topic, 2)}
    assert len(ids) == 2
    assert image_id_of("upscale", 2, f"upload:{sha256(other).hexdigest()}") in ids


@pytest.mark.slow
def test_a_broker_that_does_not_acknowledge_is_told_in_time():
    from ingestion.cli.uploads import Publisher
    from ingestion.references import Wanted

    publisher = Publisher(Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}"))
    reference = Wanted("upscale", 2).reference("upload:0", "file:///boat.png", "upload:boat.png")
    began = time.monotonic()
    with pytest.raises(TransferError, match="Kafka"):
        publisher.publish([reference])
    assert time.monotonic() - began < 15
    assert "does not answer" in publisher.ready()


@pytest.mark.kafka
@pytest.mark.chromium
def test_the_page_sends_files_in_a_real_browser(broker, tmp_path):
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
        # Chromium itself notes every answer that is an error.
        assert all("422" in complaint for complaint in page.complaints)

        page.run(DROP)
        page.wait("document.querySelectorAll('li.rejected').length === 2")
        assert "dropped.jpg" in page.run("document.querySelector('li:last-child').innerText")

        page.open("about:blank")
        page.open(f"http://127.0.0.1:{port}/uploads")
        assert page.run("document.getElementById('token').value") == TOKEN  # of this tab
        reached = []
        for _ in range(2):
            page.press("Tab", 9)
            reached.append(page.run("document.activeElement.id"))
        assert reached == ["token", "files"]

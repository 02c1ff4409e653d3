"""`superres uploads` as a process that stores the images itself, without a broker."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from deploy.smoke.sending import multipart_form
from tests.support.http_server import until
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import Service
from tests.support.upload_app import GOOD, TOKEN


@contextmanager
def upload_service(folder: Path, **environment: str) -> Iterator[tuple[int, Service]]:
    """Runs the service on any free port, which is yielded."""
    given = {"SUPERRES_UPLOAD_TOKEN": TOKEN, "SUPERRES_KAFKA__ENABLED": "false", **environment}
    service = Service(["uploads", "--port", "0"], given, folder / "uploads")
    try:
        until(lambda: bool(service.events("serving")) or not service.running, PATIENCE)
        assert service.running, service.log
        port = int(service.events("serving")[0]["pages"][0].split(":")[2].partition("/")[0])
        until(lambda: status_of(port, "GET", "/readyz") == 200, PATIENCE)
        yield port, service
    finally:
        if service.running:
            service.terminate()
            service.wait(PATIENCE)


def status_of(port: int, method: str, path: str, **headers: str) -> int:
    """The status of a response; 0 while nothing answers."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def upload(port: int, content: bytes = GOOD, token: str = TOKEN) -> tuple[int, dict[str, object]]:
    """Uploads an image; returns the status and the body of the response."""
    body, kind = multipart_form({}, [("boat.png", content)])
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
        connection.request("POST", "/uploads", body, headers)
        response = connection.getresponse()
        return response.status, json.load(response)
    finally:
        connection.close()

"""`superres uploads` as a process without a broker, killed while it stores what it has accepted."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.smoke.sending import multipart_form
from superres.pipeline import storage
from superres.service.supervisor import free_port
from tests.support import image_files
from tests.support.http_server import until
from tests.support.upload_app import TOKEN

IMAGES = 12
_SECONDS = 120.0


class UploadService:
    """The service with its files below one folder, and a single thread that stores images."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        environment = {
            "SUPERRES_UPLOAD_TOKEN": TOKEN,
            "SUPERRES_KAFKA__ENABLED": "false",
            "SUPERRES_INGESTION__THREADS": "1",
        }
        with (folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [Path(sys.executable).with_name("superres"), "uploads", "--port", str(self.port)],
                cwd=folder,
                stderr=log,
                env=os.environ | environment,
                start_new_session=True,
            )
        until(lambda: self.status("GET", "/readyz") == 200, _SECONDS)

    def status(self, method: str, path: str, body: bytes = b"", kind: str = "") -> int:
        """Returns the status of a response; 0 where nothing answers."""
        assert self.process.poll() is None, (self.folder / "log").read_text()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
        try:
            connection.request(method, path, body, headers)
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()

    def end(self, number: signal.Signals) -> None:
        """Sends a signal to the service and its worker, and waits for the end."""
        os.killpg(self.process.pid, number)
        self.process.wait(_SECONDS)


def pending(folder: Path) -> int:
    return len(storage.list_files(str(folder / "data/uploads/pending")))


def stored(folder: Path) -> set[str]:
    """Returns the sources of the stored images."""
    files = storage.list_files(str(folder / "data/low_resolution"))
    return {file.stem for file in files}


@pytest.mark.slow
def test_what_a_killed_service_has_accepted_is_stored_by_the_next(tmp_path):
    images = [image_files.png(image_files.photo(900, 900, seed=each)) for each in range(IMAGES)]
    files = [(f"{number}.png", content) for number, content in enumerate(images)]
    first = UploadService(tmp_path)
    try:
        assert first.status("POST", "/uploads", *multipart_form({}, files)) == 202
    finally:
        first.end(signal.SIGKILL)
    assert pending(tmp_path) > 0
    assert len(stored(tmp_path)) < IMAGES
    second = UploadService(tmp_path)
    try:
        until(lambda: pending(tmp_path) == 0, _SECONDS)
    finally:
        second.end(signal.SIGTERM)
    assert len(stored(tmp_path)) == IMAGES
    assert second.process.returncode == 0

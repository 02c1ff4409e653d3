"""The upload application without a server, and the requests that it gets."""

import io
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from ingestion.uploads.app import create_app
from superres.errors import TransferError
from superres.pipeline.config_file import validated
from superres.pipeline.records import ImageReference
from tests.support import image_files

TOKEN = "a-token-of-these-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
GOOD = image_files.png(image_files.photo(24, 32))
BOUNDARY = "---------------------------41184676334"


class UploadApp:
    """The application with everything that it has published.

    While ``broken`` is not empty, the application is not ready and publishing fails.
    """

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.uploads = folder / "uploads"
        ingestion = {"uploads_dir": str(self.uploads)} | sections.pop("ingestion", {})
        dataset = {"reconstructed_images_dir": str(folder / "results")}
        content = {"ingestion": ingestion, "dataset": dataset} | sections
        self.published: list[ImageReference] = []
        self.broken = ""
        self.app = create_app(validated(content, "test"), TOKEN, self.publish, lambda: self.broken)
        self.client: FlaskClient = self.app.test_client()

    def publish(self, references):
        if self.broken:
            raise TransferError(self.broken)
        self.published.extend(references)

    def send(self, *files: tuple[str, bytes], headers=BEARER, **fields: str):
        data = {"files": [(io.BytesIO(content), name) for name, content in files], **fields}
        return self.client.post("/uploads", data=data, headers=headers)

    @property
    def stored(self) -> list[str]:
        """Names of the stored files."""
        return sorted(path.name for path in self.uploads.iterdir()) if self.uploads.exists() else []


def multipart_body(name: str, content: bytes) -> bytes:
    """The body of a request that uploads one file; its boundary is ``BOUNDARY``."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    return f"{head}{kind}".encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()

"""The photographs in the scikit-image package, served over HTTP by this process.

They take the same path as any other image, the download included, and need no internet.
"""

import shutil
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Self

from ingestion.references import Wanted
from superres.imaging.samples import sample_images
from superres.pipeline.records import ImageReference

_POLL_SECONDS = 0.05  # closing takes at most this long


class SampleSource:
    """A source with its own server, which serves until it is closed; a context manager.

    References point to the server, so keep it open until the images have been fetched.

    Args:
        wanted: how to process every image.
        follow: keep serving until stopped; no more images are added.
    """

    def __init__(self, wanted: Wanted, *, follow: bool = False) -> None:
        self._wanted = wanted
        self._follow = follow
        self._files = {file.name: file for file in sample_images()}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._files))
        serve = self._server.serve_forever
        self._thread = Thread(target=serve, args=(_POLL_SECONDS,), name="samples", daemon=True)
        self._thread.start()

    @property
    def allowed_host(self) -> str:
        """``host:port`` of the server; the consumer must allow it."""
        return f"127.0.0.1:{self._server.server_port}"

    def units(self, stop: Event) -> Iterator[str]:
        """The file names."""
        yield from self._files
        if self._follow:
            stop.wait()

    def references(self, unit: str) -> list[ImageReference]:
        """The reference to one file; its image_id does not depend on the port."""
        url = f"http://{self.allowed_host}/{unit}"
        name = f"samples:{unit}"
        return [self._wanted.reference(name, url, name, path=unit)]

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _handler(files: Mapping[str, Path]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = files.get(self.path.removeprefix("/"))
            if file is None:
                self.send_error(404)
                return
            with file.open("rb") as stream:
                self.send_response(200)
                self.send_header("Content-Length", str(file.stat().st_size))
                self.end_headers()
                shutil.copyfileobj(stream, self.wfile)

        def log_message(self, *_: object) -> None:
            """Logs nothing: the producer and the consumer report on each image."""

    return Handler

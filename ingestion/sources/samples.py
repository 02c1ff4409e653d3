"""The photographs that the scikit-image wheel carries, over HTTP from this very machine.

So a newcomer without internet sees the whole way that an image takes, its download included.
"""

import shutil
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from ingestion.references import Wanted
from superres.imaging.samples import sample_photographs
from superres.pipeline.records import ImageReference

_POLL_SECONDS = 0.05  # the longest that closing takes


class SamplePhotographs:
    """A source with a server of its own, which serves until it is closed; a context manager.

    References lead to the server, so keep it open until the images have been fetched.

    Args:
        wanted: of every image.
        follow: stay, and serve, until stopped; there is never more to come.
        port: to serve on; 0 for any free one.
    """

    def __init__(self, wanted: Wanted, *, follow: bool = False, port: int = 0) -> None:
        self._wanted = wanted
        self._follow = follow
        self._files = {file.name: file for file in sample_photographs()}
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self._files))
        serve = self._server.serve_forever
        self._thread = Thread(target=serve, args=(_POLL_SECONDS,), name="samples", daemon=True)
        self._thread.start()

    @property
    def allowed_host(self) -> str:
        """``host:port`` of the server, which whoever fetches the images must allow."""
        return f"127.0.0.1:{self._server.server_port}"

    def units(self, stop: Event) -> Iterator[str]:
        """Names of the photographs."""
        yield from self._files
        if self._follow:
            stop.wait()

    def references(self, unit: str) -> list[ImageReference]:
        """The reference to one photograph; it is the same image whatever the port."""
        url = f"http://{self.allowed_host}/{unit}"
        return [self._wanted.reference(f"samples:{unit}", url, f"samples:{unit}")]

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
            """Says nothing: the producer and the consumer tell what becomes of each image."""

    return Handler

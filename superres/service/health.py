"""What a service shows of itself: metrics, and whether it is well.

A small HTTP server gives ``/metrics`` (Prometheus), ``/healthz`` (the process lives: its main loop
turned lately) and ``/readyz`` (it can do its work).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from superres.errors import PrerequisiteError

Check = Callable[[], str]
"""Empty when all is well, else what is wrong."""


@contextmanager
def health_server(
    port: int, registry: CollectorRegistry, alive: Check, ready: Check, host: str = "127.0.0.1"
) -> Iterator[int]:
    """Serves metrics and health until the block ends; gives the port (0 asks for any free one)."""
    pages: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest(registry)),
        "/healthz": lambda: _verdict(alive()),
        "/readyz": lambda: _verdict(ready()),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = page() if page else (404, "text/plain", b"not found\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing: probes come every few seconds."""

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise PrerequisiteError(
            f"port {port} of {host}, for metrics and health: {error.strerror or error}; "
            "set ingestion.consumer_port to another one (0: any that is free)"
        ) from None
    thread = Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Says nothing: a probe that gave up is no line for the log."""


def _verdict(complaint: str) -> tuple[int, str, bytes]:
    return (503 if complaint else 200), "text/plain", f"{complaint or 'ok'}\n".encode()

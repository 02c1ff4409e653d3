"""``/healthz``, ``/readyz`` and ``/metrics`` of every service.

``/healthz`` checks that the process is alive, ``/readyz`` that it can do its work, and ``/metrics``
is for Prometheus. Services with a Flask application add the routes to it (``health_blueprint``);
the consumer, which has none, serves them alone (``health_server``).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from superres.errors import PrerequisiteError

Check = Callable[[], str]
"""Returns what is wrong; empty when all is well."""


def always_well() -> str:
    """A check that never finds anything wrong."""
    return ""


@dataclass(frozen=True)
class HealthResponse:
    """A response, independent of the server that sends it."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Health:
    """The three routes of one service."""

    registry: CollectorRegistry
    alive: Check = always_well
    ready: Check = always_well

    def routes(self) -> dict[str, Callable[[], HealthResponse]]:
        """What each path responds with."""
        return {
            "/healthz": lambda: _verdict(self.alive()),
            "/readyz": lambda: _verdict(self.ready()),
            "/metrics": lambda: HealthResponse(
                200, CONTENT_TYPE_LATEST, generate_latest(self.registry)
            ),
        }


def _verdict(complaint: str) -> HealthResponse:
    status = 503 if complaint else 200
    return HealthResponse(status, "text/plain", f"{complaint or 'ok'}\n".encode())


@contextmanager
def health_server(
    port: int,
    registry: CollectorRegistry,
    alive: Check,
    ready: Check,
    host: str = "127.0.0.1",
    setting: str = "ingestion.consumer_port",
) -> Iterator[int]:
    """Serves the routes until the block ends; yields the port (0 asks for any free one).

    ``setting`` is the key of the configuration with the port, for the error when it is taken.
    """
    routes = Health(registry, alive, ready).routes()
    missing = HealthResponse(404, "text/plain", b"not found\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            response = route() if route else missing
            self.send_response(response.status)
            self.send_header("Content-Type", response.content_type)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            self.wfile.write(response.body)

        def log_message(self, *_: object) -> None:
            """Logs nothing: probes come every few seconds."""

    try:
        server = _Server((host, port), Handler)
    except OSError as error:
        raise PrerequisiteError(
            f"port {port} of {host}, for metrics and health: {error.strerror or error}; "
            f"set {setting} to another one (0: any that is free)"
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
        """Logs nothing: a probe that gave up is not worth a line."""

"""``/healthz``, ``/readyz`` and ``/metrics`` of every service.

``/healthz`` checks that the process is alive, ``/readyz`` that it can do its work, and ``/metrics``
is for Prometheus. Services with a Flask application add the routes to it (``health_blueprint``);
the consumer, which has none, serves them alone (``health_server``).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from superres.errors import PrerequisiteError

KEPT_SECONDS = 1.0
"""How long a verdict is kept, so that probes cost nothing, however many there are."""
HANGING_SECONDS = 15.0
"""How long a check may take before that is the verdict."""
_PROBE_SECONDS = 10.0  # of silence, after which a connection is closed
_log = structlog.get_logger()

Check = Callable[[], str]
"""Returns what is wrong; empty when all is well."""


def always_well() -> str:
    """A check that never finds anything wrong."""
    return ""


def unexplained(check: Check) -> Check:
    """A check for a route that strangers reach: a reason may name hosts and paths."""
    return lambda: "not ready; the log says why" if check() else ""


class Kept:
    """A check whose verdict is kept for a while, for all who ask meanwhile; thread-safe.

    One caller waits for the check; the others get the last verdict, or that there is none yet: a
    check that hangs must not take the threads of a service. After ``HANGING_SECONDS``, that is the
    verdict. A new reason is logged, and so is its end. A check that raises has a reason, too.
    """

    def __init__(
        self,
        check: Check,
        seconds: float = KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._check = check
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._verdict: str | None = None
        self._began_at: float | None = None  # of the check that is under way
        self._ended_at = 0.0
        self._result = Lock()  # for the attributes above, which nobody keeps while a check runs

    def __call__(self) -> str:
        """What is wrong; empty when all is well."""
        if not self._lock.acquire(blocking=False):
            return self._meanwhile()
        try:
            if self._verdict is None or self._clock() - self._ended_at >= self._seconds:
                self._began_at = self._clock()
                verdict = self._ask()
                with self._result:
                    self._change(verdict)
                    self._began_at, self._ended_at = None, self._clock()
            return self._verdict or ""
        finally:
            self._lock.release()

    def _meanwhile(self) -> str:
        with self._result:
            if self._began_at is not None and self._clock() - self._began_at >= HANGING_SECONDS:
                self._change(f"the check has not ended for {HANGING_SECONDS:.0f} s")
            return "being checked" if self._verdict is None else self._verdict

    def _change(self, verdict: str) -> None:
        before, self._verdict = self._verdict, verdict
        if verdict and verdict != before:
            _log.error("not_ready", reason=verdict)
        elif before and not verdict:
            _log.info("ready_again")

    def _ask(self) -> str:
        try:
            return self._check()
        except Exception as error:
            return f"unexpected error: {type(error).__name__}: {error}"


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
        timeout = _PROBE_SECONDS

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

"""A webhook receiver on loopback that records requests and sends the configured replies.

with Receiver() as receiver:
    receiver.replies["/hook"] = [Reply(503, {"Retry-After": "2"}), Reply(500)]  # then 204
    client = Client(allowed_hosts={receiver.host})
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any, Self

import pytest
from standardwebhooks import Webhook


@dataclass(frozen=True)
class Reply:
    """A response; it is sent once ``held`` is set."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    held: Event | None = None


@dataclass(frozen=True)
class Request:
    """A received request; ``at`` is ``time.monotonic()``."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, after checking its signature as receivers do."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Listens on a port of 127.0.0.1 (0: any free one) until the block ends.

    Attributes:
        replies: by path, the replies to the first requests; later requests get ``default``.
        default: by path, the reply to all other requests; 204 if there is none.
    """

    def __init__(self, port: int = 0) -> None:
        self.replies: dict[str, list[Reply]] = {}
        self.default: dict[str, Reply] = {}
        self._requests: list[Request] = []
        self._concurrent = 0
        self.max_concurrent = 0
        self._lock = Lock()
        self._closing = Event()
        self._server = _Server(("127.0.0.1", port), _handler_of(self))
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, path: str = "/hook") -> str:
        return f"http://{self.host}{path}"

    def requests(self, path: str = "/hook") -> list[Request]:
        """The requests for a path so far, in order; queries are ignored."""
        with self._lock:
            return [each for each in self._requests if each.path.partition("?")[0] == path]

    def respond(self, request: Request) -> Reply:
        """Records a request; returns the reply once it is due."""
        path = request.path.partition("?")[0]
        with self._lock:
            self._requests.append(request)
            self._concurrent += 1
            self.max_concurrent = max(self.max_concurrent, self._concurrent)
            first = self.replies.get(path)
            reply = first.pop(0) if first else self.default.get(path, Reply())
        while reply.held and not self._closing.is_set() and not reply.held.wait(0.02):
            pass
        with self._lock:
            self._concurrent -= 1
        return reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as started:
        yield started


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs nothing: tests kill senders on purpose."""


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = receiver.respond(Request(self.path, headers, body, time.monotonic()))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204 and "Content-Length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    return Handler

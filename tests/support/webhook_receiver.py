"""A webhook receiver on loopback that remembers what it got and answers as it is told.

with Receiver() as receiver:
    receiver.answers["/hook"] = [Reply(503, {"Retry-After": "2"}), Reply(500)]  # then 204
    client = Client(allowed_hosts={receiver.host})
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self

import pytest
from standardwebhooks import Webhook


@dataclass(frozen=True)
class Reply:
    """How a request is answered; ``held`` is waited for first."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    held: Event | None = None


@dataclass(frozen=True)
class Got:
    """A request that came; ``at`` is ``time.monotonic()``."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The event, its signature checked as receivers do."""
        return Webhook(secret).verify(self.body, self.headers)


class Receiver:
    """Listens on a port of 127.0.0.1 (0: any that is free) while the block lasts.

    Attributes:
        answers: by path, the replies to the first requests; those after them get ``always``.
        always: by path, the reply to all other requests; 204 where none is given.
    """

    def __init__(self, port: int = 0) -> None:
        self.answers: dict[str, list[Reply]] = {}
        self.always: dict[str, Reply] = {}
        self._got: list[Got] = []
        self._at_once = 0
        self.most_at_once = 0
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

    def got(self, path: str = "/hook") -> list[Got]:
        """The requests for a path until now, in order; a query does not count."""
        with self._lock:
            return [each for each in self._got if each.path.partition("?")[0] == path]

    def take(self, got: Got) -> Reply:
        """Remembers a request; how to answer it."""
        path = got.path.partition("?")[0]
        with self._lock:
            self._got.append(got)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            waiting = self.answers.get(path)
            reply = waiting.pop(0) if waiting else self.always.get(path, Reply())
        while reply.held and not self._closing.is_set() and not reply.held.wait(0.02):
            pass
        with self._lock:
            self._at_once -= 1
        return reply

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
        """Says nothing: senders that are killed are what the tests are about."""


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = receiver.take(Got(self.path, headers, body, time.monotonic()))
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.status != 204 and "Content-Length" not in reply.headers:
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler

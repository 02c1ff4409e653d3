"""A small HTTP server for tests, over real sockets, that can misbehave in every known way.

with HttpServer() as server:
    server.serve("/good.png", png)
    server.serve("/later.png", png, fail_first=2, fail_status=503, retry_after="1")
    server.serve("/cut.png", png, cut_at=100)
    client = Client(allowed_hosts={server.host})
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Body = bytes | Path | Callable[[], bytes]


@dataclass
class Reply:
    """The response to a path.

    Attributes:
        fail_first: this many requests get ``fail_status`` before the others get the body.
        drip_seconds: wait before every ``drip_bytes`` of the body.
        header_drip_seconds: wait before every byte of the headers.
        hold_seconds: wait before responding at all.
        cut_at: close the connection after this many bytes of the body, with a Content-Length for
            all of it.
        redirect_to: respond with a 302 to this location, which may be absolute.
    """

    body: Body = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    fail_first: int = 0
    fail_status: int = 500
    retry_after: str | None = None
    drip_seconds: float = 0.0
    drip_bytes: int = 1
    header_drip_seconds: float = 0.0
    hold_seconds: float = 0.0
    cut_at: int | None = None
    redirect_to: str | None = None


@dataclass(frozen=True)
class PicsumEntry:
    """An entry of the Picsum-compatible list."""

    id: str
    width: int = 64
    height: int = 48
    author: str = "Ada Lovelace"
    link: str = "https://example.org/photo"


class HttpServer:
    """Serves on a free port of 127.0.0.1 while the block lasts.

    Attributes:
        hits: number of requests by target (path and query).
        connections: number of accepted connections.
    """

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.connections = 0
        self._replies: dict[str, Reply] = {}
        self._failed: Counter[str] = Counter()
        self._entries: Sequence[PicsumEntry] = ()
        self._image: Callable[[str, int, int], bytes] = lambda *_: b""
        self._picsum_redirects = False
        self._lock = Lock()
        self._closing = Event()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def host(self) -> str:
        """``127.0.0.1:port``."""
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def serve(self, path: str, body: Body = b"", **how: Any) -> str:
        """Serves a path as ``Reply`` describes; returns its URL."""
        with self._lock:
            self._replies[path] = Reply(body, **how)
            self._failed[path] = 0
        return self.url(path)

    def serve_picsum(
        self,
        entries: Sequence[PicsumEntry],
        image: Callable[[str, int, int], bytes],
        *,
        redirects: bool = False,
    ) -> str:
        """Serves ``/v2/list`` and ``/id/ID/W/H.jpg`` like Picsum; returns the base URL.

        ``image`` makes the file for an id, a width and a height. With ``redirects``, images are
        behind a 302, as at picsum.photos.
        """
        with self._lock:
            self._entries, self._image = entries, image
            self._picsum_redirects = redirects
        return f"http://{self.host}"

    def reply_to(self, target: str) -> Reply:
        """Counts a request and returns its reply."""
        with self._lock:
            self.hits[target] += 1
            path = target.partition("?")[0]
            key = target if target in self._replies else path
            reply = self._replies.get(key)

            if reply is None:
                return self._picsum(target)
            if self._failed[key] < reply.fail_first:
                self._failed[key] += 1
                headers = {"Retry-After": reply.retry_after} if reply.retry_after else {}
                return Reply(status=reply.fail_status, headers=headers)
            return reply

    def pause(self, seconds: float) -> bool:
        """Waits, unless the server is closing; returns whether to continue."""
        return not self._closing.wait(seconds) if seconds else not self._closing.is_set()

    def _picsum(self, target: str) -> Reply:
        parts = urlsplit(target)
        steps = parts.path.strip("/").split("/")
        if steps == ["v2", "list"] and self._entries:
            asked = {name: int(value[0]) for name, value in parse_qs(parts.query).items()}
            limit = asked.get("limit", 30)
            first = (asked.get("page", 1) - 1) * limit
            page = [self._listed(entry) for entry in self._entries[first : first + limit]]
            return Reply(json.dumps(page).encode(), headers={"Content-Type": "application/json"})
        if len(steps) == 4 and steps[0] in ("id", "cdn") and steps[3].endswith(".jpg"):
            if not any(entry.id == steps[1] for entry in self._entries):
                return Reply(status=404)
            if steps[0] == "id" and self._picsum_redirects:
                return Reply(redirect_to=f"/cdn/{'/'.join(steps[1:])}")
            width, height = int(steps[2]), int(steps[3].removesuffix(".jpg"))
            return Reply(lambda: self._image(steps[1], width, height))
        return Reply(status=404)

    def _listed(self, entry: PicsumEntry) -> Mapping[str, object]:
        return {
            "id": entry.id,
            "author": entry.author,
            "width": entry.width,
            "height": entry.height,
            "url": entry.link,
            "download_url": self.url(f"/id/{entry.id}/{entry.width}/{entry.height}"),
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs nothing: the tests make clients give up on purpose."""


def _handler_of(server: HttpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def setup(self) -> None:
            super().setup()
            server.connections += 1

        def do_GET(self) -> None:
            reply = server.reply_to(self.path)
            if server.pause(reply.hold_seconds):
                self._answer(reply)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.do_GET()

        def _answer(self, reply: Reply) -> None:
            body = reply.body() if callable(reply.body) else reply.body
            size = body.stat().st_size if isinstance(body, Path) else len(body)
            self.send_response(302 if reply.redirect_to else reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if reply.redirect_to:
                self.send_header("Location", reply.redirect_to)

            self.send_header("Content-Length", str(size))
            self._head(reply.header_drip_seconds)
            if isinstance(body, Path) and not reply.drip_seconds and reply.cut_at is None:
                with body.open("rb") as stream:
                    shutil.copyfileobj(stream, self.wfile)
                return
            content = body.read_bytes() if isinstance(body, Path) else body
            self._send(content[: reply.cut_at], reply.drip_seconds, reply.drip_bytes)
            self.close_connection |= reply.cut_at is not None

        def _head(self, seconds: float) -> None:
            if not seconds:
                self.end_headers()
                return
            head = b"".join([*self._headers_buffer, b"\r\n"])
            self._headers_buffer: list[bytes] = []
            self._send(head, seconds, 1)

        def _send(self, content: bytes, seconds: float, count: int) -> None:
            if not seconds:
                self.wfile.write(content)
                return
            for start in range(0, len(content), count):
                if not server.pause(seconds):
                    return
                self.wfile.write(content[start : start + count])
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits until a condition holds that another thread or process causes; fails after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(0.01)

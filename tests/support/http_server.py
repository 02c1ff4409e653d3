"""A small HTTP server to fetch from, over real sockets, which can misbehave in every known way.

with HttpSource() as source:
    source.serve("/good.png", png)
    source.serve("/later.png", png, fail_first=2, fail_status=503, retry_after="1")
    source.serve("/cut.png", png, cut_at=100)
    client = Client(allowed_hosts={source.host})
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
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Body = bytes | Path | Callable[[], bytes]


@dataclass
class Reply:
    """How a path is answered.

    Attributes:
        fail_first: so many requests are answered with ``fail_status`` before the good ones.
        drip_seconds: wait before every ``drip_bytes`` of the body.
        header_drip_seconds: wait before every byte of the head.
        hold_seconds: wait before answering at all.
        cut_at: the connection is closed after so many bytes of the body, all of it promised.
        redirect_to: a 302 to this location, which may be absolute.
        close: the connection is not kept.
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
    close: bool = False


@dataclass(frozen=True)
class Picture:
    """An entry of the Picsum-compatible list."""

    id: str
    width: int = 64
    height: int = 48
    author: str = "Ada Lovelace"
    link: str = "https://example.org/photo"


class HttpSource:
    """Serves on a free port of 127.0.0.1 while the block lasts.

    Attributes:
        hits: requests by target (path and query).
        connections: connections that were accepted.
        outage: while it is a status, every request is answered with it.
    """

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.connections = 0
        self.outage: int | None = None
        self._replies: dict[str, Reply] = {}
        self._failed: Counter[str] = Counter()
        self._pictures: Sequence[Picture | Mapping[str, object]] = ()
        self._photograph: Callable[[str, int, int], bytes] = lambda *_: b""
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
        """Answers a path as ``Reply`` describes; gives its URL."""
        with self._lock:
            self._replies[path] = Reply(body, **how)
            self._failed[path] = 0
        return self.url(path)

    def serve_picsum(
        self,
        pictures: Sequence[Picture | Mapping[str, object]],
        photograph: Callable[[str, int, int], bytes],
        *,
        redirects: bool = False,
    ) -> str:
        """Answers ``/v2/list`` and ``/id/ID/W/H.jpg`` like Picsum; gives the base URL.

        ``photograph`` makes the file for an id, a width and a height. A mapping among the pictures
        is listed as it is. ``redirects``: a photograph is behind a 302, as at picsum.photos.
        """
        with self._lock:
            self._pictures, self._photograph = pictures, photograph
            self._picsum_redirects = redirects
        return f"http://{self.host}"

    def reply_to(self, target: str) -> Reply:
        """What a request gets; counts it."""
        with self._lock:
            self.hits[target] += 1
            path = target.partition("?")[0]
            key = target if target in self._replies else path
            reply = self._replies.get(key)
            if self.outage is not None:
                return Reply(status=self.outage)
            if reply is None:
                return self._picsum(target)
            if self._failed[key] < reply.fail_first:
                self._failed[key] += 1
                headers = {"Retry-After": reply.retry_after} if reply.retry_after else {}
                return Reply(status=reply.fail_status, headers=headers)
            return reply

    def pause(self, seconds: float) -> bool:
        """Waits, unless the server is being closed; whether to go on."""
        return not self._closing.wait(seconds) if seconds else not self._closing.is_set()

    def _picsum(self, target: str) -> Reply:
        parts = urlsplit(target)
        steps = parts.path.strip("/").split("/")
        if steps == ["v2", "list"] and self._pictures:
            asked = {name: int(value[0]) for name, value in parse_qs(parts.query).items()}
            limit = asked.get("limit", 30)
            first = (asked.get("page", 1) - 1) * limit
            page = [self._entry(picture) for picture in self._pictures[first : first + limit]]
            return Reply(json.dumps(page).encode(), headers={"Content-Type": "application/json"})
        if len(steps) == 4 and steps[0] in ("id", "cdn") and steps[3].endswith(".jpg"):
            if not any(isinstance(p, Picture) and p.id == steps[1] for p in self._pictures):
                return Reply(status=404)
            if steps[0] == "id" and self._picsum_redirects:
                return Reply(redirect_to=f"/cdn/{'/'.join(steps[1:])}")
            width, height = int(steps[2]), int(steps[3].removesuffix(".jpg"))
            return Reply(lambda: self._photograph(steps[1], width, height))
        return Reply(status=404)

    def _entry(self, picture: Picture | Mapping[str, object]) -> Mapping[str, object]:
        if not isinstance(picture, Picture):
            return picture
        return {
            "id": picture.id,
            "author": picture.author,
            "width": picture.width,
            "height": picture.height,
            "url": picture.link,
            "download_url": self.url(f"/id/{picture.id}/{picture.width}/{picture.height}"),
        }

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: clients that give up are what the tests are about."""


def _handler_of(source: HttpSource) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def setup(self) -> None:
            super().setup()
            source.connections += 1

        def do_GET(self) -> None:
            reply = source.reply_to(self.path)
            if source.pause(reply.hold_seconds):
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
            if reply.close:
                self.send_header("Connection", "close")
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
                if not source.pause(seconds):
                    return
                self.wfile.write(content[start : start + count])
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def until(happened: Callable[[], object], seconds: float = 10.0) -> None:
    """Waits for what another thread or process brings about; fails when it does not."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"did not happen within {seconds} s"
        time.sleep(0.01)

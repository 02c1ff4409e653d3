"""A worker of Gunicorn whose threads are not held up by slow clients.

Gunicorn's threaded worker reads a request's head in a thread, and closes connections in the one
thread that accepts them; a few clients that are slow on purpose stop it. Here that thread collects
each request, and a pool of threads gets what has arrived (``ArrivingRequest``). A large body and
the response are for the thread, at a least rate (``Pace``). Whoever sends the beginning of a
request too slowly, and whoever has waited longest when there is no room, is disconnected.
"""

import os
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from queue import Empty, SimpleQueue
from typing import Any

from gunicorn.http import RequestParser
from gunicorn.http.errors import NoMoreData
from gunicorn.http.wsgi import create
from gunicorn.workers.base import Worker

from superres.service.addresses import is_loopback, network_of
from superres.service.arriving import ArrivingRequest
from superres.service.pace import LEAST_RATE, PacedSocket

ARRIVAL_SECONDS = 20.0
"""For a request's head and, if it is small, its body."""
CUT_SECONDS = 5.0
"""For threads to end after their connections were cut, when the worker stops."""
_LINGER_SECONDS = 2.0  # of silence, for a client to take the rest of a response (RFC 9112, 9.6)
_LINGER_AT_MOST = 30.0  # seconds, for a client that first sends the rest of its body
_DRAINED_AT_ONCE = 1 << 16  # bytes, so that nobody holds up the thread of all connections
_MAX_LINGERING = 512
_ACCEPTED_AT_ONCE = 64
_FOR_A_WHILE = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_RETRY_SECONDS = 30
_TURN_SECONDS = 1.0


class Connection:
    """A client's connection.

    Attributes:
        client: whose connection it is, as ``network_of`` has it.
        deadline: when it is closed, unless something happens first.
        lingers_until: when it is closed after its last response, whatever the client sends.
        idle: whether nothing of a request has arrived yet.
    """

    def __init__(self, sock: socket.socket, peer: Any, server: Any) -> None:
        self.sock, self.peer, self.server = sock, peer, server
        self.client = network_of(peer[0]) if isinstance(peer, tuple) else ""
        self.arriving = ArrivingRequest()
        self.deadline = time.monotonic() + ARRIVAL_SECONDS
        self.idle = False
        self.lingers_until = 0.0


class PatientWorker(Worker):  # type: ignore[misc]  # Gunicorn ships no types
    """Serves connections; all methods but ``_serve`` and what it calls are for the main thread.

    Attributes:
        connections_per_client: the most connections that one may have; 0: no limit. Clients on this
            machine have none.
    """

    alive: bool
    connections_per_client = 0

    def init_process(self) -> None:
        """Prepares what must not exist before the fork, and runs."""
        self._selector = selectors.DefaultSelector()
        self._pool = ThreadPoolExecutor(self.cfg.threads, "request")
        self._finished: SimpleQueue[tuple[Connection, bytes | None]] = SimpleQueue()
        self._waiting: dict[Connection, None] = {}  # for a request; the longest waiting is first
        self._working: set[Connection] = set()
        self._lingering: dict[Connection, None] = {}  # the longest lingering is first
        self._per_client: Counter[str] = Counter()
        self._looked_at = 0.0
        super().init_process()

    def run(self) -> None:
        """Serves until the worker is told to stop, and then what has begun."""
        for listener in self.sockets:
            listener.setblocking(False)
            self._selector.register(listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self.PIPE[0], selectors.EVENT_READ, self._wake)
        while self.alive and self.ppid == os.getppid():
            self._turn(_TURN_SECONDS)
        self.alive = False
        self._stop()

    def _turn(self, seconds: float) -> None:
        self.notify()
        for key, _ in self._selector.select(seconds):
            key.data(key.fileobj)
        self._take_finished()
        now = time.monotonic()
        if now - self._looked_at >= _TURN_SECONDS:
            self._looked_at = now
            for connection in [each for each in self._waiting if each.deadline <= now]:
                if connection.idle:
                    self._close(connection)
                else:
                    self._refuse(connection, HTTPStatus.REQUEST_TIMEOUT)
            for connection in [each for each in self._lingering if each.deadline <= now]:
                self._close(connection)

    def _stop(self) -> None:
        """Accepts nothing more; cuts what threads still serve when their time is over."""
        for listener in self.sockets:
            self._selector.unregister(listener)
            listener.close()
        now = time.monotonic()
        for connection in self._waiting:  # a request may be under way
            connection.deadline = min(connection.deadline, now + _LINGER_SECONDS)
        cut_at = now + self.cfg.graceful_timeout - CUT_SECONDS
        while (self._working or self._waiting) and time.monotonic() < cut_at:
            self._turn(_TURN_SECONDS)
        for connection in self._working:
            with suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + CUT_SECONDS
        while (self._working or self._lingering) and time.monotonic() < end:
            self._turn(_TURN_SECONDS)
        self._pool.shutdown(wait=False, cancel_futures=True)

    # ---- the beginning of a connection

    def _accept(self, listener: Any) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no file descriptor is left
                if not self._make_room():
                    self.log.warning("cannot accept a connection: %s", error.strerror)
                    time.sleep(_TURN_SECONDS / 10)
                return
            sock.setblocking(False)
            self._begin(Connection(sock, peer, listener.getsockname()))

    def _begin(self, connection: Connection) -> None:
        self._per_client[connection.client] += 1
        count = len(self._waiting) + len(self._working) + len(self._lingering)
        if self._has_too_many(connection.client):
            self._refuse(connection, HTTPStatus.TOO_MANY_REQUESTS)
        elif count >= self.cfg.worker_connections and not self._make_room():
            self._refuse(connection, HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self._wait(connection)

    def _has_too_many(self, client: str) -> bool:
        limit = self.connections_per_client
        return 0 < limit < self._per_client[client] and not is_loopback(client)

    def _make_room(self) -> bool:
        """Closes the connection that has waited longest for its client; False without any."""
        for connection in self._waiting:
            self._close(connection)
            return True
        return False

    def _wait(self, connection: Connection) -> None:
        self._waiting[connection] = None
        self._register(connection, self._receive)

    def _receive(self, connection: Connection) -> None:
        data = self._read(connection, 1 << 16)
        if data is None:
            return
        if connection.idle:
            connection.idle = False
            connection.deadline = time.monotonic() + ARRIVAL_SECONDS
        connection.arriving.add(data)
        if connection.arriving.too_large:
            self._refuse(connection, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif connection.arriving.complete:
            self._hand_over(connection)
        elif connection.arriving.awaits_continue:
            connection.arriving.awaits_continue = False
            with suppress(OSError):
                connection.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hand_over(self, connection: Connection) -> None:
        self._forget(connection)
        self._working.add(connection)
        self._pool.submit(self._serve, connection)

    # ---- in a thread

    def _serve(self, connection: Connection) -> None:
        rest = None
        try:
            rest = self._answer(connection)
        finally:
            self._finished.put((connection, rest))
            with suppress(OSError):  # the pipe is full, or the worker has ended
                os.write(self.PIPE[1], b".")

    def _answer(self, connection: Connection) -> bytes | None:
        """Serves one request; returns what arrived of the next, None where there can be none."""
        paced = PacedSocket(connection.sock, bytes(connection.arriving.received))
        request = None
        try:
            parser = RequestParser(self.cfg, paced, connection.peer)
            request = next(parser)
            if self._respond(request, paced, connection):
                return _rest(parser, request, paced)
        except (NoMoreData, StopIteration, TimeoutError, ConnectionError) as error:
            self.log.debug("a client has gone or is too slow: %s", error)
        except OSError:
            self.log.exception("a response was cut off")
        except Exception as error:
            self.handle_error(request, paced, connection.peer, error)
        return None

    def _respond(self, request: Any, paced: PacedSocket, connection: Connection) -> bool:
        """Sends the response of the application; returns whether another request may follow."""
        response, environ = create(request, paced, connection.peer, connection.server, self.cfg)
        environ["wsgi.multithread"] = True
        if not self.alive:
            response.force_close()
        content = self.wsgi(environ, response.start_response)
        try:
            if isinstance(content, environ["wsgi.file_wrapper"]):
                response.write_file(content)
            else:
                for part in content:
                    response.write(part)
            response.close()
        except OSError:
            raise
        except Exception:
            if not response.headers_sent:
                raise
            self.log.exception("a response was cut off")
            return False
        finally:
            if hasattr(content, "close"):
                content.close()
        return not response.should_close()

    # ---- the end of a request

    def _wake(self, pipe: int) -> None:
        with suppress(BlockingIOError):
            os.read(pipe, 4096)

    def _take_finished(self) -> None:
        while True:
            try:
                connection, rest = self._finished.get_nowait()
            except Empty:
                return
            self._working.remove(connection)
            if rest is None or not self.alive:
                self._linger(connection)
                continue
            connection.sock.setblocking(False)
            connection.arriving = ArrivingRequest(rest)
            connection.idle = not rest
            seconds = self.cfg.keepalive if connection.idle else ARRIVAL_SECONDS
            connection.deadline = time.monotonic() + seconds
            if connection.arriving.complete:
                self._hand_over(connection)
            else:
                self._wait(connection)

    def _refuse(self, connection: Connection, status: HTTPStatus) -> None:
        """Answers without a thread."""
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Connection: close"]
        if status in _FOR_A_WHILE:
            lines.append(f"Retry-After: {_RETRY_SECONDS}")
        head = "\r\n".join([*lines, "Content-Length: 0", "", ""])
        with suppress(OSError):
            connection.sock.send(head.encode())
        self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """Half-closes: closing at once would reset what the client has not read yet.

        Many clients read nothing before they have sent their whole body, so that is drained.
        """
        self._forget(connection)
        try:
            connection.sock.setblocking(False)
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        if len(self._lingering) >= _MAX_LINGERING:
            self._close(next(iter(self._lingering)))
        now = time.monotonic()
        connection.deadline = now + _LINGER_SECONDS
        connection.lingers_until = now + _LINGER_AT_MOST
        self._lingering[connection] = None
        self._register(connection, self._drain)

    def _drain(self, connection: Connection) -> None:
        data = self._read(connection, _DRAINED_AT_ONCE)
        if data is None:
            return
        connection.deadline = min(
            connection.deadline + len(data) / LEAST_RATE,
            time.monotonic() + _LINGER_SECONDS,
            connection.lingers_until,
        )

    def _read(self, connection: Connection, size: int) -> bytes | None:
        """What has arrived; None when nothing has. Closes a connection that has ended."""
        try:
            data = connection.sock.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self._close(connection)
        return data or None

    def _close(self, connection: Connection) -> None:
        self._forget(connection)
        self._per_client[connection.client] -= 1
        if not self._per_client[connection.client]:
            del self._per_client[connection.client]
        connection.sock.close()

    def _register(self, connection: Connection, react: Callable[[Connection], None]) -> None:
        def act(_: Any) -> None:
            # An earlier event of the same turn may have closed it.
            if connection in self._waiting or connection in self._lingering:
                react(connection)

        self._selector.register(connection.sock, selectors.EVENT_READ, act)

    def _forget(self, connection: Connection) -> None:
        if connection in self._waiting or connection in self._lingering:
            self._selector.unregister(connection.sock)
        self._waiting.pop(connection, None)
        self._lingering.pop(connection, None)


def _rest(parser: Any, request: Any, paced: PacedSocket) -> bytes | None:
    """What was received after a request; None if its body is not here to the end."""
    paced.stop_waiting()
    try:
        while request.body.read(1 << 16):
            pass
    except Exception:  # what a parser raises for a wrong body, too
        return None
    rest = b""
    with suppress(TimeoutError):
        while data := parser.unreader.read():
            rest += data
    return rest

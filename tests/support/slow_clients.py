"""Many clients that send a request byte by byte, or never read its response."""

import selectors
import socket
from threading import Event, Thread
from typing import Self

HOST = "127.0.0.1"


class SlowClients:
    """Connections that are slow on purpose, until the block ends.

    Args:
        port: of a service on this machine.
        count: how many connections.
        beginning: sent at once on each.
        drip: sent on each once a second, for as long as the service lets it.
    """

    def __init__(self, port: int, count: int, beginning: bytes, drip: bytes = b"") -> None:
        self._port, self._count = port, count
        self._beginning, self._drip = beginning, drip
        self._sockets: list[socket.socket] = []
        self._stop = Event()
        self._thread = Thread(target=self._keep_dripping, daemon=True)

    def __enter__(self) -> Self:
        for _ in range(self._count):
            opened = socket.create_connection((HOST, self._port), timeout=10)
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._sockets.append(opened)
            opened.sendall(self._beginning)
            opened.setblocking(False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for each in self._sockets:
            each.close()

    @property
    def ended(self) -> int:
        """How many of the connections the service has ended."""
        with selectors.PollSelector() as selector:
            for each in self._sockets:
                selector.register(each, selectors.EVENT_READ)
            readable = [key.fileobj for key, _ in selector.select(0)]
        return sum(1 for each in readable if isinstance(each, socket.socket) and _has_ended(each))

    def _keep_dripping(self) -> None:
        while not self._stop.wait(1.0):
            for each in self._sockets:
                try:
                    each.send(self._drip)
                except OSError:
                    continue


def _has_ended(connection: socket.socket) -> bool:
    """Whether all that a service will ever send has been read, or it has reset the connection."""
    try:
        while data := connection.recv(1 << 16):
            if not data:
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def request(method: str, path: str, *headers: str) -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode()

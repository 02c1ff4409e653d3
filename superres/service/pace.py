"""How long a client may keep a thread waiting, and a socket that holds it to that."""

import socket
import time
from typing import IO, Any

SILENT_SECONDS = 30.0
"""The longest silence within a request or a response."""
LEAST_RATE = 4096
"""Bytes per second; a client may fall ``SILENT_SECONDS`` behind it, and no further."""
_PIECE = 1 << 16  # bytes that are sent under one deadline: fewer than LEAST_RATE · SILENT_SECONDS


class Pace:
    """The seconds that a client may still keep a thread waiting in one direction.

    Waiting uses them up, and every byte that arrives gives some back. Time in which the thread
    does not wait for the client does not count.
    """

    def __init__(self) -> None:
        self._left = SILENT_SECONDS

    def left(self) -> float:
        """What the next operation may take; raises ``TimeoutError`` when nothing is left."""
        if self._left <= 0:
            raise TimeoutError(f"slower than {LEAST_RATE} bytes per second")
        return self._left

    def moved(self, size: int, seconds: float) -> None:
        """Counts bytes, and the seconds that were waited for them."""
        self._left = min(SILENT_SECONDS, self._left - seconds + size / LEAST_RATE)


class PacedSocket:
    """A connection as a thread sees it while it serves one request.

    First come the bytes that were received before the thread had the connection. Every method
    raises ``OSError``, such as ``TimeoutError`` for a client that is too slow.

    Args:
        sock: the connection; gets a timeout.
        received: the bytes that were received before.
    """

    def __init__(self, sock: socket.socket, received: bytes) -> None:
        self._socket = sock
        self._received = received
        self._incoming, self._outgoing = Pace(), Pace()
        self._may_wait = True

    def stop_waiting(self) -> None:
        """From now on, ``recv`` returns what was received before and then raises."""
        self._may_wait = False

    def recv(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        if self._received:
            data, self._received = self._received[:size], self._received[size:]
            return data
        if not self._may_wait:
            raise TimeoutError("nothing more was received")
        began = self._begin(self._incoming)
        data = self._socket.recv(size)
        self._incoming.moved(len(data), time.monotonic() - began)
        return data

    def send(self, data: bytes | memoryview) -> int:
        """Sends some bytes and returns how many."""
        began = self._begin(self._outgoing)
        sent = self._socket.send(data)
        self._outgoing.moved(sent, time.monotonic() - began)
        return sent

    def sendall(self, data: bytes) -> None:
        """Sends all bytes."""
        whole = memoryview(data)
        for start in range(0, len(whole), _PIECE):
            piece = whole[start : start + _PIECE]
            began = self._begin(self._outgoing)
            self._socket.sendall(piece)  # the timeout is for all of it
            self._outgoing.moved(len(piece), time.monotonic() - began)

    def sendfile(self, file: IO[bytes], offset: int, count: int) -> int:
        """Sends a part of a file, whose content the process need not read; returns its size."""
        sent = 0
        while sent < count:
            began = self._begin(self._outgoing)
            size = min(_PIECE, count - sent)
            piece = self._socket.sendfile(file, offset + sent, size)
            self._outgoing.moved(piece, time.monotonic() - began)
            sent += piece
            if piece < size:  # the file is shorter
                break
        return sent

    def _begin(self, pace: Pace) -> float:
        self._socket.settimeout(pace.left())
        return time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

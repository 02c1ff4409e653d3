"""The bytes of a request that is arriving, until a thread has something to do with it."""

import re

HEAD_BYTES = 1 << 16
"""The longest head of a request."""
_BODY_BYTES = 1 << 16  # a body up to this size is awaited with the head
_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*([0-9]{1,18})[ \t]*\r$")
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_CODED = re.compile(rb"(?im)^transfer-encoding[ \t]*:")
_EXPECTS = re.compile(rb"(?im)^expect[ \t]*:[ \t]*100-continue[ \t]*\r$")


class ArrivingRequest:
    """Collects a request's head, and its body if that is small and its length is known.

    It only finds out where they end; the server's parser decides what is valid.

    Attributes:
        received: all bytes so far, those of a next request too.
        complete: whether a thread can go on without waiting for the client, or only it can judge.
        too_large: whether the head exceeds ``HEAD_BYTES``.
        awaits_continue: whether the client may wait for ``100 Continue`` before it sends the body.
    """

    def __init__(self, received: bytes = b"") -> None:
        self.received = bytearray()
        self.complete = False
        self.too_large = False
        self.awaits_continue = False
        self._whole: int | None = None  # bytes of head and body, once the head is here
        self.add(received)

    def add(self, data: bytes) -> None:
        """Appends what was received."""
        searched = max(0, len(self.received) - len(_END) + 1)
        self.received += data
        if self._whole is None:
            if self.received.startswith(b"\r\n"):
                del self.received[:2]  # RFC 9112, 2.2: an empty line before a request is ignored
                searched = 0
            self._find_head(searched)
        if self._whole is not None and len(self.received) >= self._whole:
            self.complete = True

    def _find_head(self, searched: int) -> None:
        end = self.received.find(_END, searched)
        if end < 0:
            self.too_large = len(self.received) > HEAD_BYTES
            # A bare line feed is refused by the parser; without this, it would be waited for.
            self.complete = self.complete or bool(_BARE_LINE_FEED.search(self.received, searched))
            return
        head = bytes(self.received[: end + 2])
        self.too_large = len(head) > HEAD_BYTES
        length = _LENGTH.search(head)
        body = int(length[1]) if length else 0
        begins_elsewhere = _CODED.search(head) or body > _BODY_BYTES
        self._whole = len(head) + 2 + (0 if begins_elsewhere else body)
        self.awaits_continue = (
            len(self.received) < self._whole and _EXPECTS.search(head) is not None
        )

"""Limits how many wrong tokens a service compares, for each client and altogether."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from superres.service.addresses import is_loopback, network_of
from superres.service.problems import Problem
from superres.service.tokens import same_token

WINDOW_SECONDS = 60.0
"""What the limits are for."""
PER_CLIENT = 10
"""Wrong tokens of one client, after which none of its tokens is compared."""
PER_TRUSTED_CLIENT = 3000
"""The same, of this machine and of clients that have given a right token."""
ALTOGETHER = 300
"""Wrong tokens of all clients, after which each client that is not trusted has one."""
_MAX_CLIENTS = 4096
_MAX_TOKENS = 8192


class Guesses:
    """Compares tokens, and refuses clients that have given too many wrong ones; thread-safe.

    A right token of a client over its limit is refused like a wrong one: if it were not, the limit
    would stop no guesser. Two rules keep others at the same address from locking it out:

    - A wrong token counts once, whoever repeats it, since it tells a guesser nothing new. So a
      script with an old token never uses up the limit of its office.
    - A client that has given a right token before, and this machine (with a reverse proxy that
      nobody has told us of), has the larger limit: a few thousand tokens a minute find none of 16
      random letters.

    A client that has given no wrong token is never refused, whatever others do. Memory is bounded:
    of more clients than ``_MAX_CLIENTS``, those that guessed first, or gave a right token longest
    ago, are forgotten; of more wrong tokens than ``_MAX_TOKENS``, the others count each time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._window_ends = clock() + WINDOW_SECONDS
        self._wrong: OrderedDict[str, int] = OrderedDict()
        self._altogether = 0
        self._seen: set[bytes] = set()  # digests of wrong tokens
        self._trusted: OrderedDict[str, None] = OrderedDict()

    def is_right(self, address: str | None, given: str, *tokens: str | None) -> bool:
        """Whether the client at an address has given one of the tokens; None is no token.

        Nothing given is wrong, but no guess. Raises ``Problem`` 429 without comparing the token
        when the client has given too many wrong ones.
        """
        if not given:
            return False
        client = network_of(address or "")
        digest = hashlib.sha256(given.encode(errors="replace")).digest()
        with self._lock:  # from the limit to the count, so that no guess slips in between
            self._begin_window()
            if self._wrong.get(client, 0) >= self._limit(client):
                if digest in self._seen:
                    return False
                raise self._too_many()
            matches = [same_token(given, token) for token in tokens if token is not None]
            if any(matches):
                self._trust(client)
                return True
            if digest not in self._seen:
                self._count(client, digest)
            return False

    def _begin_window(self) -> None:
        now = self._clock()
        if now >= self._window_ends:
            self._window_ends = now + WINDOW_SECONDS
            self._wrong.clear()
            self._seen.clear()
            self._altogether = 0

    def _limit(self, client: str) -> int:
        if client in self._trusted or is_loopback(client):
            return PER_TRUSTED_CLIENT
        return PER_CLIENT if self._altogether < ALTOGETHER else 1

    def _trust(self, client: str) -> None:
        self._trusted[client] = None
        self._trusted.move_to_end(client)
        if len(self._trusted) > _MAX_CLIENTS:
            self._trusted.popitem(last=False)

    def _count(self, client: str, digest: bytes) -> None:
        self._altogether += 1
        self._wrong[client] = self._wrong.get(client, 0) + 1
        if len(self._wrong) > _MAX_CLIENTS:
            self._wrong.popitem(last=False)
        if len(self._seen) < _MAX_TOKENS:
            self._seen.add(digest)

    def _too_many(self) -> Problem:
        seconds = max(1, round(self._window_ends - self._clock()))
        return Problem(
            429,
            f"too many wrong tokens; try again in {seconds} s",
            {"Retry-After": str(seconds)},
        )

"""Limits how many wrong tokens a service looks at, for each client and altogether."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from superres.service.addresses import network_of
from superres.service.problems import Problem
from superres.service.tokens import same_token

WINDOW_SECONDS = 60.0
"""What the limits are for."""
PER_CLIENT = 10
"""Wrong tokens of one client, after which none of its tokens is looked at."""
ALTOGETHER = 300
"""Wrong tokens of all clients, after which each client has one."""
_MAX_CLIENTS = 4096


class Guesses:
    """Compares tokens, and refuses clients that have given too many wrong ones; thread-safe.

    A client that has given none is never refused, whatever others do. Memory is bounded: of more
    clients than ``_MAX_CLIENTS``, those that guessed first are forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._window_ends = clock() + WINDOW_SECONDS
        self._wrong: OrderedDict[str, int] = OrderedDict()
        self._altogether = 0

    def is_right(self, address: str | None, given: str, *tokens: str | None) -> bool:
        """Whether the client at an address has given one of the tokens; None is no token.

        Nothing given is wrong, but no guess. Raises ``Problem`` 429 without looking at the token
        when the client has given too many wrong ones.
        """
        if not given:
            return False
        client = network_of(address or "")
        self._refuse_guesser(client)
        matches = [same_token(given, token) for token in tokens if token is not None]
        if any(matches):
            return True
        with self._lock:
            self._altogether += 1
            self._wrong[client] = self._wrong.get(client, 0) + 1
            if len(self._wrong) > _MAX_CLIENTS:
                self._wrong.popitem(last=False)
        return False

    def _refuse_guesser(self, client: str) -> None:
        with self._lock:
            now = self._clock()
            if now >= self._window_ends:
                self._window_ends = now + WINDOW_SECONDS
                self._wrong.clear()
                self._altogether = 0
            limit = PER_CLIENT if self._altogether < ALTOGETHER else 1
            if self._wrong.get(client, 0) < limit:
                return
            seconds = max(1, round(self._window_ends - now))
        raise Problem(
            429,
            f"too many wrong tokens; try again in {seconds} s",
            {"Retry-After": str(seconds)},
        )

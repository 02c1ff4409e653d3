"""Pages kept as they were rendered, until something changes: most requests ask for the same."""

from collections.abc import Callable, Hashable
from threading import Lock

_MOST = 64


class Rendered:
    """The pages of one change number; those of the one before are forgotten with it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._number = -1
        self._pages: dict[Hashable, str] = {}

    def page(self, number: int, key: Hashable, render: Callable[[], str]) -> str:
        """The page of this key, rendered now unless it is known."""
        with self._lock:
            if number != self._number:
                self._number, self._pages = number, {}
            known = self._pages.get(key)
        if known is None:
            known = render()
            with self._lock:
                if number == self._number and len(self._pages) < _MOST:
                    self._pages[key] = known
        return known

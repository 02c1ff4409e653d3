"""A cache of rendered responses, valid until the database changes."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock

_MAX_RESPONSES = 64


@dataclass
class _Entry:
    lock: Lock = field(default_factory=Lock)
    text: str | None = None


class Rendered:
    """The responses of one tag (``Changes.tag``); a new tag empties the cache."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tag = ""
        self._entries: dict[Hashable, _Entry] = {}

    def get(self, tag: str, key: Hashable, render: Callable[[], str]) -> str:
        """Returns the response of a key, rendered unless it is cached.

        ``tag`` must have been read before the content, which is then at least as new. After a
        change all open pages request the same at once: one thread renders it, the others wait.
        """
        with self._lock:
            if tag != self._tag:
                self._tag, self._entries = tag, {}
            entry = self._entries.get(key)
            if entry is None:
                if len(self._entries) >= _MAX_RESPONSES:
                    del self._entries[next(iter(self._entries))]  # the oldest
                entry = self._entries[key] = _Entry()
        with entry.lock:
            if entry.text is None:
                entry.text = render()
            return entry.text

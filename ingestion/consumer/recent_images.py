"""The images stored last, so that a repeated message costs no fetch."""

from collections import OrderedDict
from threading import Lock

_RECENT_IMAGES = 4096


class RecentImages:
    """A bounded set of names; safe for many threads."""

    def __init__(self, capacity: int = _RECENT_IMAGES) -> None:
        self._capacity = capacity
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def add(self, image_id: str) -> None:
        """Adds an image and drops the oldest."""
        with self._lock:
            self._ids[image_id] = None
            if len(self._ids) > self._capacity:
                self._ids.popitem(last=False)

    def __contains__(self, image_id: str) -> bool:
        with self._lock:
            return image_id in self._ids

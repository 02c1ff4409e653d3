"""What a followed source has given already, in bounded memory."""

import hashlib

MOST = 1_000_000  # about 100 MB of digests


class Seen:
    """A set of texts that forgets those it has not met for the longest time.

    Two generations of digests: when the young one holds half of ``most``, it becomes the old one,
    and what was old and not met again is forgotten. What is forgotten is given once more, which
    does no harm: it has the image_id that it had, and an image overwrites itself. For one thread.
    """

    def __init__(self, most: int = MOST) -> None:
        self._half = max(1, most // 2)
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def add(self, text: str) -> bool:
        """Remembers a text; whether it is new."""
        digest = hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=12).digest()
        new = digest not in self._young and digest not in self._old
        self._young.add(digest)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, set()
        return new

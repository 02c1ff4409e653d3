"""Files that are still being written: each is ready once it has stopped growing."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ingestion.sources.source import Seen

_OLD_SECONDS = 2.0  # the coarsest resolution of a file system's clock (FAT)
_State = tuple[int, int]


class Settling:
    """Which files are complete, and new or changed since they were last yielded.

    A file is complete when it is not empty and its size and modification time have not changed for
    ``seconds``. Files that were yielded are remembered with both, in the bounded memory of
    ``Seen``.

    Args:
        seconds: without change.
        clock: a monotonic clock.
        wall_clock: the clock of modification times.
    """

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._wall_clock = wall_clock
        self._waiting: dict[Path, tuple[_State, float]] = {}  # longest waiting first
        self._seen = Seen()

    def note(self, path: Path) -> None:
        """Records that a file is new or has changed."""
        state = _state(path)
        known = self._waiting.get(path)
        if state is None or (known and known[0] == state):
            return
        self._waiting.pop(path, None)
        self._waiting[path] = state, self._clock()

    def is_ready(self, path: Path) -> bool:
        """Whether a file that a walk found is complete and new; if it is fresh, it is noted."""
        state = _state(path)
        if state is None:
            return False
        if path in self._waiting or self._wall_clock() - state[1] / 1e9 < _OLD_SECONDS:
            self.note(path)
            return False
        return self._seen.add(_key(path, state))

    def ready(self) -> Iterator[Path]:
        """Files that are complete now; each once per change of its content."""
        for path, (state, since) in list(self._waiting.items()):
            if self._clock() - since < self._seconds:
                return
            del self._waiting[path]
            current = _state(path)
            if current == state and self._seen.add(_key(path, state)):
                yield path
            elif current is not None and current != state:
                self._waiting[path] = current, self._clock()


def _state(path: Path) -> _State | None:
    """None where there is nothing to wait for: the path is empty, gone or not a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if path.is_file() and status.st_size else None


def _key(path: Path, state: _State) -> str:
    return f"{path}:{state[0]}:{state[1]}"

"""Answers kept as they were made, until something changes: most requests ask for the same."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock

_MOST = 64


@dataclass
class _Answer:
    lock: Lock = field(default_factory=Lock)
    text: str | None = None


class Rendered:
    """The latest answers of one tag (``Changes.tag``); those of the one before go with it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tag = ""
        self._answers: dict[Hashable, _Answer] = {}

    def answer(self, tag: str, key: Hashable, render: Callable[[], str]) -> str:
        """The answer of this key, rendered now unless it is known.

        ``tag`` must have been read before whatever is rendered: that is then at least as new.
        After a change every open page asks for the same at once: one renders it, the others wait.
        """
        with self._lock:
            if tag != self._tag:
                self._tag, self._answers = tag, {}
            answer = self._answers.get(key)
            if answer is None:
                if len(self._answers) >= _MOST:
                    del self._answers[next(iter(self._answers))]  # the oldest
                answer = self._answers[key] = _Answer()
        with answer.lock:
            if answer.text is None:
                answer.text = render()
            return answer.text

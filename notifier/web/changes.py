"""Noticing that the database has changed, whichever process or machine changed it."""

import time
from collections.abc import Callable
from threading import Condition, Thread

import structlog

from notifier.store.database import Database
from superres import __version__
from superres.errors import StorageError

_POLL_SECONDS = 0.2
_log = structlog.get_logger()


class Changes:
    """Asks the database for its change number again and again, for all who wait.

    ``number`` is the latest, and ``tag`` stands for all that is in the database at that number.
    ``alive`` tells whether the process goes on; when it does not, whoever waits is woken.
    """

    def __init__(self, database: Database, alive: Callable[[], bool] = lambda: True) -> None:
        self._database = database
        self._alive = alive
        self._news = Condition()
        self.number = 0
        self.tag = ""
        self.failing = ""
        self.closed = False

    def start(self) -> None:
        """Begins to watch, in a thread of its own."""
        Thread(target=self._watch, name="changes", daemon=True).start()

    def look(self) -> None:
        """Asks once."""
        try:
            number, name = self._database.change()
        except StorageError as error:
            self.failing = str(error)
            return
        except Exception as error:
            # Whatever it is, pages must not stay as they are for ever.
            if not self.failing:
                _log.exception("unexpected")
            self.failing = str(error) or type(error).__name__
            return
        with self._news:
            self.failing = ""
            self.tag = f"{__version__}-{name}-{number}"
            if number != self.number:
                self.number = number
                self._news.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """The change number, as soon as it is another than ``seen`` or the time is over."""
        with self._news:
            self._news.wait_for(lambda: self.number != seen or self.closed, seconds)
            return self.number

    def _watch(self) -> None:
        while self._alive():
            self.look()
            time.sleep(_POLL_SECONDS)
        with self._news:
            self.closed = True
            self._news.notify_all()

"""Noticing that the database has changed, whichever process or machine changed it."""

import time
from collections.abc import Callable
from threading import Condition, Thread

from notifier.store.database import Database
from superres.errors import StorageError

_POLL_SECONDS = 0.2


class Changes:
    """Asks the database for its change number again and again, for all who wait.

    ``alive`` tells whether the process goes on; when it does not, whoever waits is woken.
    """

    def __init__(self, database: Database, alive: Callable[[], bool] = lambda: True) -> None:
        self._database = database
        self._alive = alive
        self._news = Condition()
        self.number = 0
        self.failing = ""
        self.closed = False

    def start(self) -> None:
        """Begins to watch, in a thread of its own."""
        Thread(target=self._watch, name="changes", daemon=True).start()

    def look(self) -> None:
        """Asks once."""
        try:
            number, failing = self._database.change_number(), ""
        except StorageError as error:
            number, failing = self.number, str(error)
        with self._news:
            self.failing = failing
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

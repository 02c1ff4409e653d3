"""Detects changes of the database, whichever process or machine made them."""

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
    """Polls the change number of the database, and wakes the threads that wait for a new one.

    ``number`` is the latest; ``tag`` identifies the content of the database at that number.
    ``alive`` returns whether the process is still running; once it is not, all waiting threads
    are woken.
    """

    def __init__(self, database: Database, alive: Callable[[], bool] = lambda: True) -> None:
        self._database = database
        self._alive = alive
        self._changed = Condition()
        self.number = 0
        self.tag = ""
        self.failing = ""
        self.closed = False

    def start(self) -> None:
        """Starts polling in a thread of its own."""
        Thread(target=self._keep_polling, name="changes", daemon=True).start()

    def poll(self) -> None:
        """Polls once."""
        try:
            number, name = self._database.change()
        except StorageError as error:
            self.failing = str(error)
            return
        except Exception as error:
            # Polling must go on after any error, or pages would never change again.
            if not self.failing:
                _log.exception("unexpected_error")
            self.failing = str(error) or type(error).__name__
            return
        with self._changed:
            self.failing = ""
            self.tag = f"{__version__}-{name}-{number}"
            if number != self.number:
                self.number = number
                self._changed.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Returns the change number as soon as it differs from ``seen``, or after some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.number != seen or self.closed, seconds)
            return self.number

    def _keep_polling(self) -> None:
        while self._alive():
            self.poll()
            time.sleep(_POLL_SECONDS)
        with self._changed:
            self.closed = True
            self._changed.notify_all()

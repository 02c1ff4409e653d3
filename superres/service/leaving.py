"""Ends a process on time although a thread is busy with what cannot be interrupted.

A library that decodes, resolves a name or waits for a server does not look at our events, and
Python waits for all threads before it exits. What such a thread does is not finished then: its
message, file or request is there for the next process. Standard library only.
"""

import os
import sys
from contextlib import suppress
from threading import Event
from typing import NoReturn

_left_behind = Event()


def leave_behind() -> None:
    """Says that threads are still busy, which ``exit_process`` is not to wait for."""
    _left_behind.set()


def exit_process(code: int) -> NoReturn:
    """Exits as ``sys.exit`` does, but without waiting for threads that were left behind."""
    if _left_behind.is_set():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(code)
    sys.exit(code)

"""The signals that ask a process to end, and what a process does about them."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, ``kill``, and the end of the terminal or login."""


def end_process(number: int, _: object = None) -> NoReturn:
    """A handler of these signals: leaves by an exception, so that everything is cleaned up.

    Further signals are ignored, since a second Ctrl-C must not cut the clean-up short.
    """
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise_for(number)


def handle_ending(handler: Callable[[int, object], None] = end_process) -> None:
    """Has a handler called for these signals; main thread only.

    One that is ignored stays so: ``nohup`` and background jobs rely on that.
    """
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def raise_for(number: int) -> NoReturn:
    """Raises ``KeyboardInterrupt`` for Ctrl-C, else ``SystemExit`` with 128 + number."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)

"""Waiting for what other machines do."""

import time
from collections.abc import Callable

from deploy.callbacks import Pause

_PAUSE_SECONDS = 2.0


def wait_until(happened: Callable[[], bool], seconds: float, pause: Pause = time.sleep) -> bool:
    """Looks every two seconds; returns whether it happened in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            return False
        pause(_PAUSE_SECONDS)
    return True

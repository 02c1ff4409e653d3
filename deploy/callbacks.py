"""What long-running functions take from their caller, so that tests neither print nor wait."""

from collections.abc import Callable

Report = Callable[[str], None]
"""Prints one line of progress."""

Pause = Callable[[float], None]
"""Waits this many seconds."""

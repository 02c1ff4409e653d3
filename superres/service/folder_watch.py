"""Watches a local folder, also one in which names are not UTF-8."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event

from watchfiles import Change, watch
from watchfiles._rust_notify import WatchfilesRustInternalError

# What watchfiles says of a name that is not UTF-8. It has no better error for that.
_UNDECODABLE = "Unable to decode path"


def changes_in(
    folder: Path, stop: Event, *, debounce: int, tick: int, step: int = 50
) -> Iterator[set[tuple[Change, str]] | None]:
    """What has changed below a folder, until ``stop`` is set; an empty set where nothing has.

    From its first answer on, the watch is active. None: a watch has ended at a name that is not
    UTF-8 and another has begun, so changes may have been missed.

    Args:
        folder: to watch, with all that is in it.
        stop: ends the watch.
        debounce: milliseconds for which changes are collected while they keep coming.
        tick: milliseconds after which an empty set is returned.
        step: milliseconds to wait for another change.

    Raises:
        OSError: the folder cannot be watched.
    """
    has_ended = False
    while not stop.is_set():
        try:
            for changes in watch(
                folder,
                watch_filter=None,
                debounce=debounce,
                step=step,
                rust_timeout=tick,
                yield_on_timeout=True,
                ignore_permission_denied=True,
                stop_event=stop,
            ):
                yield None if has_ended else changes
                has_ended = False
        except WatchfilesRustInternalError as error:
            if _UNDECODABLE not in str(error):
                raise OSError(str(error)) from None
            has_ended = True

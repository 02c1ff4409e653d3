"""``/events``: server-sent events that say that something is new, not what.

A page knows the change number that it was made at, so it misses nothing between being made and
being connected: the first event tells the number as it is then. Each open page holds a thread, so
there are fewer streams than threads; a page that gets none asks again from time to time.
"""

from collections.abc import Iterator
from threading import BoundedSemaphore

from flask import Blueprint, Response

from notifier.web.changes import Changes
from notifier.web.context import service
from notifier.web.problems import Problem

_HEARTBEAT_SECONDS = 15.0  # proxies give up on a connection that is silent for a minute
_KEPT_THREADS = 32
_RETRY_MILLISECONDS = 3000


def stream_blueprint(threads: int) -> Blueprint:
    """The route, for a server with so many threads."""
    blueprint = Blueprint("stream", __name__)
    free = BoundedSemaphore(max(1, threads - min(_KEPT_THREADS, threads // 2)))

    @blueprint.get("/events")
    def events() -> Response:
        if not free.acquire(blocking=False):
            raise Problem(
                503, "as many pages are open as can be told at once", {"Retry-After": "30"}
            )
        response = Response(_stream(service().changes), mimetype="text/event-stream")
        response.call_on_close(free.release)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        return response

    return blueprint


def _stream(changes: Changes) -> Iterator[str]:
    number = changes.number
    yield f"retry: {_RETRY_MILLISECONDS}\n{_event(number)}"
    while not changes.closed:
        latest = changes.wait(number, _HEARTBEAT_SECONDS)
        yield _event(latest) if latest != number else ": still here\n\n"
        number = latest


def _event(number: int) -> str:
    return f"id: {number}\nevent: change\ndata: {number}\n\n"

"""``/events``: server-sent events with the change number of the database.

A page contains the change number at which it was rendered, and the first event is the current one,
so a page misses no change between loading and connecting. Each stream occupies a thread, so their
number is limited; a page without a stream refreshes periodically.
"""

from collections.abc import Iterator
from threading import BoundedSemaphore

from flask import Blueprint, Response

from notifier.web.changes import Changes
from notifier.web.context import service
from superres.service.problems import Problem

_HEARTBEAT_SECONDS = 15.0  # proxies close a connection that is silent for a minute
_RESERVED_THREADS = 32  # for other requests
_RETRY_MILLISECONDS = 3000


def stream_blueprint(threads: int) -> Blueprint:
    """Returns the route, for a server with this number of threads."""
    blueprint = Blueprint("stream", __name__)
    free = BoundedSemaphore(max(1, threads - min(_RESERVED_THREADS, threads // 2)))

    @blueprint.get("/events")
    def events() -> Response:
        if not free.acquire(blocking=False):
            raise Problem(
                503, "too many open pages for live updates; try again later", {"Retry-After": "30"}
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

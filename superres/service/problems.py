"""Error responses of the Flask services: problem details for programs (RFC 9457)."""

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

PROBLEM_TYPE = "application/problem+json"
_RETRY_SECONDS = 5
_log = structlog.get_logger()

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Problem(Exception):  # noqa: N818  # the standard's word
    """An error response; ``headers`` are sent with it, ``more`` are fields of its body."""

    def __init__(self, status: int, detail: str, headers: Headers = (), **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers, more

    @property
    def title(self) -> str:
        """The standard phrase for its status."""
        return HTTPStatus(self.status).phrase


Respond = Callable[[Problem], Response]


def problem_response(problem: Problem) -> Response:
    """A problem as JSON."""
    body = {"type": "about:blank", "title": problem.title, "status": problem.status}
    content = json.dumps(body | {"detail": problem.detail} | problem.more) + "\n"
    return complete(Response(content, problem.status, mimetype=PROBLEM_TYPE), problem)


def complete(response: Response, problem: Problem) -> Response:
    """Adds the headers of a problem; no cache may keep it."""
    response.headers.extend(problem.headers)
    response.headers["Cache-Control"] = "no-store"
    return response


def register_problems(
    app: Flask,
    unavailable: str,
    errors: Iterable[type[Exception]],
    respond: Respond = problem_response,
) -> None:
    """Turns every error into a response.

    Args:
        app: the application.
        unavailable: detail of the 503 that answers the next argument. The reason goes to the log
            only: it may name hosts and paths.
        errors: what storage, a database or Kafka raise when they do not answer.
        respond: makes the response.
    """

    def http_error(error: HTTPException) -> Response:
        # Such as Allow and WWW-Authenticate.
        headers = [pair for pair in error.get_headers() if pair[0] != "Content-Type"]
        return respond(Problem(error.code or 500, error.description or "", headers))

    def service_unavailable(error: Exception) -> Response:
        _log.error("service_unavailable", path=request.path, reason=str(error))
        return respond(Problem(503, unavailable, {"Retry-After": str(_RETRY_SECONDS)}))

    def unexpected(error: Exception) -> Response:
        _log.error("unexpected_error", path=request.path, exc_info=error)
        return respond(Problem(500, "unexpected error; see the log of this service"))

    app.register_error_handler(Problem, respond)
    app.register_error_handler(HTTPException, http_error)
    for kind in errors:
        app.register_error_handler(kind, service_unavailable)
    app.register_error_handler(Exception, unexpected)

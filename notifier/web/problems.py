"""Errors over HTTP: problem details (RFC 9457) for programs, a page for people."""

import json
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, render_template, request
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import HTTPException

from notifier.store.paging import CursorError
from superres.errors import StorageError

_RETRY_SECONDS = 5
_FOR_PROGRAMS = ("/api/", "/pictures/", "/events", "/metrics")
_log = structlog.get_logger()


class ProblemBody(BaseModel):
    """What is wrong, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Problem(Exception):  # noqa: N818  # the standard's word
    """An error to answer with; ``headers`` go with it, ``more`` into the body."""

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, headers or {}, more


def problems(*statuses: int) -> dict[str | int | HTTPStatus, Any]:
    """How the OpenAPI document tells of answers that are problems."""
    schema = ProblemBody.model_json_schema()
    return {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status in statuses
    }


def register(app: Flask) -> None:
    """Gives every error its form."""
    app.register_error_handler(Problem, answer_to)
    app.register_error_handler(HTTPException, _fault)
    app.register_error_handler(CursorError, lambda error: answer_to(Problem(404, str(error))))
    app.register_error_handler(StorageError, _trouble)
    app.register_error_handler(Exception, _bug)


def invalid(error: ValidationError) -> Response:
    """What flask-openapi3 calls when a request does not fit the document."""
    faults = [
        {"field": ".".join(map(str, fault["loc"])), "reason": " ".join(fault["msg"].split())}
        for fault in error.errors()
    ]
    detail = "; ".join(f"{fault['field']}: {fault['reason']}" for fault in faults)
    return answer_to(Problem(422, detail, errors=faults))


def answer_to(problem: Problem) -> Response:
    """A page where a person asked, else problem details."""
    title = HTTPStatus(problem.status).phrase
    if asked_by_a_person():
        page = render_template(
            "error.html", status=problem.status, title=title, detail=problem.detail
        )
        response = Response(page, problem.status)
    else:
        body = {"type": "about:blank", "title": title, "status": problem.status}
        content = json.dumps(body | {"detail": problem.detail} | problem.more) + "\n"
        response = Response(content, problem.status, mimetype="application/problem+json")
    response.headers.update(problem.headers)
    response.headers["Cache-Control"] = "no-store"
    return response


def asked_by_a_person() -> bool:
    """Whether a browser asks for a page."""
    best = request.accept_mimetypes.best_match(("application/problem+json", "text/html"))
    return best == "text/html" and not request.path.startswith(_FOR_PROGRAMS)


def _fault(error: HTTPException) -> Response:
    headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
    # A redirect (a slash too many) is no error.
    if error.code is not None and error.code < 400:
        return Response(status=error.code, headers=headers)
    return answer_to(Problem(error.code or 500, error.description or "", headers))


def _trouble(error: StorageError) -> Response:
    """The reason is for the log, not for strangers."""
    _log.error("storage_failed", path=request.path, reason=str(error))
    detail = "the notifier cannot reach its database or the images' storage now; it tries again"
    return answer_to(Problem(503, detail, {"Retry-After": str(_RETRY_SECONDS)}))


def _bug(error: Exception) -> Response:
    _log.error("unexpected", path=request.path, exc_info=error)
    return answer_to(Problem(500, "an error of this service; its log says more"))

"""Error responses of the notifier: HTML for people, problem details for programs.

``superres.service.problems`` makes the latter; this adds the HTML page and the OpenAPI schema.
"""

from http import HTTPStatus
from typing import Any

from flask import Flask, Response, render_template, request
from pydantic import BaseModel, ValidationError

from notifier.store.paging import CursorError
from superres.errors import StorageError
from superres.service.problems import (
    PROBLEM_TYPE,
    Problem,
    complete,
    problem_response,
    register_problems,
)

_FOR_PROGRAMS = ("/api/", "/pictures/", "/events", "/metrics")
_UNAVAILABLE = "the notifier cannot reach its database or the images' storage; it keeps trying"


class ProblemBody(BaseModel):
    """An error, as RFC 9457 defines it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def problem_schemas(*statuses: int) -> dict[str | int | HTTPStatus, Any]:
    """The responses of the OpenAPI document that are problems."""
    schema = ProblemBody.model_json_schema()
    return {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def register(app: Flask) -> None:
    """Turns every error into a response."""
    register_problems(app, _UNAVAILABLE, (StorageError,), page_or_problem)
    app.register_error_handler(CursorError, lambda error: page_or_problem(Problem(404, str(error))))


def invalid_request(error: ValidationError) -> Response:
    """Responds to a request that does not match the OpenAPI document; called by flask-openapi3."""
    errors = [
        {"field": ".".join(map(str, each["loc"])), "reason": " ".join(each["msg"].split())}
        for each in error.errors()
    ]
    detail = "; ".join(f"{each['field']}: {each['reason']}" for each in errors)
    return page_or_problem(Problem(422, detail, errors=errors))


def page_or_problem(problem: Problem) -> Response:
    """An HTML page for a browser, else problem details."""
    if not wants_page():
        return problem_response(problem)
    page = render_template(
        "error.html", status=problem.status, title=problem.title, detail=problem.detail
    )
    return complete(Response(page, problem.status), problem)


def wants_page() -> bool:
    """Whether the request is that of a person with a browser."""
    best = request.accept_mimetypes.best_match((PROBLEM_TYPE, "text/html"))
    return best == "text/html" and not request.path.startswith(_FOR_PROGRAMS)

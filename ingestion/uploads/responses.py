"""Responses of the upload service: JSON, errors as problem details, security headers."""

import json
from typing import Any

from flask import Flask, Response, current_app
from werkzeug.exceptions import RequestEntityTooLarge

from superres.errors import StorageError, TransferError
from superres.service.problems import Problem, problem_response, register_problems
from superres.service.security_headers import send_security_headers

MAX_FILES = 16
"""In one request."""
_UNAVAILABLE = "uploads cannot be accepted now; try again in a few seconds"


def register_responses(app: Flask) -> None:
    """Gives every response its headers, and every error its form."""
    send_security_headers(
        app, images="data:", forms="'none'", referrer="no-referrer", cache="no-store"
    )
    register_problems(app, _UNAVAILABLE, (StorageError, TransferError))
    app.register_error_handler(RequestEntityTooLarge, _too_large)


def json_response(status: int, content: dict[str, Any]) -> Response:
    """A response with a JSON body."""
    return Response(json.dumps(content) + "\n", status, mimetype="application/json")


def _too_large(_: RequestEntityTooLarge) -> Response:
    most_bytes = current_app.config["MAX_CONTENT_LENGTH"]
    detail = f"a request may hold {MAX_FILES} files and {most_bytes:,} bytes; send several requests"
    return problem_response(Problem(413, detail))

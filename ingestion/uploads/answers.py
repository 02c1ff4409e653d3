"""How the upload application answers: JSON, errors as problem details (RFC 9457), headers."""

import json
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, current_app
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from superres.errors import StorageError, TransferError

MAX_FILES = 16
"""In one request."""
_RETRY_SECONDS = 5
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_log = structlog.get_logger()


def register(app: Flask) -> None:
    """Gives every answer its headers, and every error its form."""
    app.after_request(_with_headers)
    app.register_error_handler(HTTPException, _fault)
    app.register_error_handler(StorageError, _trouble)
    app.register_error_handler(TransferError, _trouble)
    app.register_error_handler(Exception, _bug)


def json_answer(
    status: int, content: dict[str, Any], mimetype: str = "application/json"
) -> Response:
    """An answer with a JSON body."""
    return Response(json.dumps(content) + "\n", status, mimetype=mimetype)


def problem(status: int, detail: str, **more: Any) -> Response:
    """An error as RFC 9457 has it."""
    title = HTTPStatus(status).phrase
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return json_answer(status, content | more, "application/problem+json")


def _fault(error: HTTPException) -> Response:
    detail = error.description or ""
    if isinstance(error, RequestEntityTooLarge):
        limits = f"{MAX_FILES} files and {current_app.config['MAX_CONTENT_LENGTH']:,} bytes"
        detail = f"a request may have {limits}; send several"
    response = problem(error.code or 500, detail)
    # Such as Allow and WWW-Authenticate.
    response.headers.extend(pair for pair in error.get_headers() if pair[0] != "Content-Type")
    return response


def _trouble(error: Exception) -> Response:
    """Storage or Kafka fails; the reason is for the log, not for strangers."""
    _log.error("upload_failed", reason=str(error))
    response = problem(503, "the files cannot be taken now; send them again in a while")
    response.headers["Retry-After"] = str(_RETRY_SECONDS)
    return response


def _bug(error: Exception) -> Response:
    _log.error("upload_broken", exc_info=error)
    return problem(500, "an error of this service; its log says more")


def _with_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    return response

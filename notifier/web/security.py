"""Access control: tokens, the login, and security headers.

A request that changes something needs the write token in its ``Authorization`` header, which no
other site can make a browser send. The cookie of a login allows reading, no more.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from flask import (
    Blueprint,
    Flask,
    redirect,
    render_template,
    request,
    session,
)
from werkzeug.wrappers import Response as AnyResponse

from notifier.web.context import Tokens, service
from notifier.web.problems import wants_page
from superres.errors import ConfigError
from superres.pipeline import storage
from superres.pipeline.config import Notifier, Settings
from superres.service.addresses import is_loopback
from superres.service.problems import Problem
from superres.service.security_headers import send_security_headers
from superres.service.tokens import bearer_of, same_token, token_from

WRITE_TOKEN, READ_TOKEN = "SUPERRES_NOTIFIER_TOKEN", "SUPERRES_NOTIFIER_READ_TOKEN"
"""The environment variables that hold the tokens."""
_PUBLIC_ENDPOINTS = frozenset(
    {"static", "health.healthz", "health.readyz", "login.form", "login.enter"}
)
login = Blueprint("login", __name__)


def tokens_from(environment: Mapping[str, str]) -> Tokens:
    """Returns the tokens; raises ``ConfigError`` for one that is too short or fits no header."""
    return Tokens(token_from(environment, WRITE_TOKEN), token_from(environment, READ_TOKEN))


def is_exposed(host: str, notifier: Notifier) -> bool:
    """Whether other machines can reach the notifier, directly or through a proxy."""
    return not is_loopback(host) or notifier.proxies > 0 or notifier.public_url is not None


def check_exposure(host: str, notifier: Notifier, tokens: Tokens) -> None:
    """Raises ``ConfigError`` when other machines can reach a notifier that has no token."""
    if is_exposed(host, notifier) and tokens.write is None:
        raise ConfigError(
            f"notifier.host: other machines can reach {host}, so a token is needed: set "
            f"{WRITE_TOKEN} in the environment, for example to the output of `openssl rand -hex 16`"
        )


def secure(app: Flask, settings: Settings, tokens: Tokens, host: str) -> None:
    """Checks every request, and adds security headers to every response."""
    app.before_request(_check_reading)
    https = (settings.notifier.public_url or "").startswith("https://")
    app.config.update(
        # Changes with the tokens, so that a login with an old one ends.
        SECRET_KEY=hmac.digest(
            f"{tokens.write} {tokens.read}".encode(), b"session", hashlib.sha256
        ),
        SESSION_COOKIE_NAME="superres_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=https,
        PERMANENT_SESSION_LIFETIME=timedelta(days=7),
        MAX_CONTENT_LENGTH=64 * 1024,
    )
    if not is_exposed(host, settings.notifier):
        # Against DNS rebinding: a foreign host name that resolves to this machine is refused.
        app.config["TRUSTED_HOSTS"] = ["localhost", "127.0.0.1", "[::1]", host]

    send_security_headers(
        app,
        images=_image_sources(settings),
        forms="'self'",
        referrer="same-origin",
        cache="no-cache",
        https_only=https,
    )


def require_write() -> None:
    """Raises ``Problem`` unless the request has the write token."""
    expected = service().tokens.write
    if expected is None:
        raise Problem(
            403, f"changes need a token and this service has none: start it with {WRITE_TOKEN} set"
        )
    given = _bearer()
    if not (_is_token(given) and same_token(given, expected)):
        raise _unauthorized()


def is_stranger() -> bool:
    """Whether the request is of somebody who has not signed in, where everybody may read."""
    if not service().settings.notifier.public_gallery or session.get("reader"):
        return False
    given = _bearer()
    return not (given and _is_token(given))


def _check_reading() -> AnyResponse | None:
    if not service().private or request.endpoint in _PUBLIC_ENDPOINTS or session.get("reader"):
        return None
    if _is_token(_bearer()):
        return None
    if request.method == "GET" and wants_page():
        return redirect(f"/login?{urlencode({'next': request.full_path.rstrip('?')})}")
    raise _unauthorized()


def _unauthorized() -> Problem:
    return Problem(
        401,
        "send the service's token in the header Authorization: Bearer TOKEN, or log in",
        {"WWW-Authenticate": 'Bearer realm="superres notifier"'},
    )


@login.get("/login")
def form() -> str:
    """Shows the login form."""
    return render_template("login.html", next=_local_path(request.args.get("next", "/")), error="")


@login.post("/login")
def enter() -> AnyResponse | tuple[str, int]:
    """Exchanges the token for a cookie."""
    _check_origin()
    target = _local_path(request.form.get("next", "/"))
    if not _is_token(request.form.get("token", "").strip()):
        page = render_template("login.html", next=target, error="This token is wrong.")
        return page, 403
    session.clear()
    session["reader"], session.permanent = True, True
    return redirect(target, 303)


@login.post("/logout")
def leave() -> AnyResponse:
    """Deletes the cookie."""
    _check_origin()
    session.clear()
    return redirect("/login", 303)


def _check_origin() -> None:
    """Refuses forms of other sites: they must not log a person in or out."""
    origin = request.headers.get("Origin")
    public = urlsplit(service().settings.notifier.public_url or "").netloc
    # A proxy may not pass on the host name of the request.
    foreign = origin is not None and _host_of(origin) not in {request.host, public} - {""}
    if foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in (
        "same-origin",
        "none",
    ):
        raise Problem(403, "this form was sent from another site")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _local_path(target: str) -> str:
    """Returns where to go after a login: never to another site."""
    local = target.startswith("/")
    # Browsers read \\ as /, and drop line breaks.
    plain = all(" " < letter != "\\" for letter in target) and not target.startswith("//")
    return target if local and plain else "/"


def _bearer() -> str:
    return bearer_of(request.headers.get("Authorization", ""))


def _is_token(given: str) -> bool:
    """Raises ``Problem`` 429 for a client that has given too many wrong ones."""
    tokens, guesses = service().tokens, service().guesses
    return guesses.is_right(request.remote_addr, given, tokens.write, tokens.read)


def _image_sources(settings: Settings) -> str:
    """Where pages may load images from: this service, and S3 where it holds the images."""
    locations = [uri for uri in settings.dataset.model_dump().values() if storage.is_s3(uri)]
    signed = [urlsplit(storage.presigned(storage.join(uri, "x"), 1)) for uri in locations]
    return " ".join(["'self'", *sorted({f"{url.scheme}://{url.netloc}" for url in signed})])

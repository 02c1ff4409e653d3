"""Who may read and who may write, and what browsers are told to refuse.

Whatever changes state needs the write token in its ``Authorization`` header, which no other site
can make a browser send. The cookie of a login lets people read, no more.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

from flask import (
    Blueprint,
    Flask,
    Response,
    redirect,
    render_template,
    request,
    session,
)
from werkzeug.wrappers import Response as AnyResponse

from notifier.web.context import Tokens, service
from notifier.web.problems import Problem, asked_by_a_person
from superres.errors import ConfigError
from superres.pipeline import storage
from superres.pipeline.config import Notifier, Settings
from superres.service.addresses import is_loopback
from superres.service.tokens import bearer_of, same_token, token_from

WRITE_TOKEN, READ_TOKEN = "SUPERRES_NOTIFIER_TOKEN", "SUPERRES_NOTIFIER_READ_TOKEN"
"""The environment variables that hold the tokens."""
_LEAST_TOKEN = 16  # letters; `openssl rand -hex 16` gives 32
_OPEN = frozenset({"static", "health.healthz", "health.readyz", "login.form", "login.enter"})
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
login = Blueprint("login", __name__)


def tokens_from(environment: Mapping[str, str]) -> Tokens:
    """The tokens; raises ``ConfigError`` for one that is short or that no header can carry."""
    write, read = (
        token_from(environment, name, _LEAST_TOKEN) for name in (WRITE_TOKEN, READ_TOKEN)
    )
    return Tokens(write, read)


def is_exposed(host: str, notifier: Notifier) -> bool:
    """Whether others than this machine can reach it, directly or through a proxy."""
    return not is_loopback(host) or notifier.proxies > 0 or notifier.public_url is not None


def check_exposure(host: str, notifier: Notifier, tokens: Tokens) -> None:
    """Raises ``ConfigError`` when strangers could reach a service that knows no token."""
    if is_exposed(host, notifier) and tokens.write is None:
        raise ConfigError(
            f"notifier.host: {host} can be reached from elsewhere, which needs a token: set "
            f"{WRITE_TOKEN} in the environment, to `openssl rand -hex 16` say"
        )


def secure(app: Flask, settings: Settings, tokens: Tokens, host: str) -> None:
    """Checks every request, and gives every answer its headers."""
    app.before_request(_check_reading)
    policy = _policy(settings)
    https = (settings.notifier.public_url or "").startswith("https://")
    app.config.update(
        # Another after a token was changed, so that nobody stays logged in with the old one.
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
        # A name of a stranger's that leads here (DNS rebinding) must not open the gallery to them.
        app.config["TRUSTED_HOSTS"] = ["localhost", "127.0.0.1", "[::1]", host]

    def with_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = policy
        if https:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        response.headers.setdefault("Cache-Control", "no-cache")
        return response

    app.after_request(with_headers)


def require_write() -> None:
    """Raises ``Problem`` unless the request bears the write token."""
    wanted = service().tokens.write
    if wanted is None:
        raise Problem(
            403, f"this service changes nothing without a token: start it with {WRITE_TOKEN}"
        )
    if not same_token(_bearer(), wanted):
        raise _unauthorized()


def _check_reading() -> AnyResponse | None:
    if not service().guarded or request.endpoint in _OPEN or session.get("reader"):
        return None
    if _is_token(_bearer()):
        return None
    if request.method == "GET" and asked_by_a_person():
        return redirect(f"/login?{urlencode({'next': request.full_path.rstrip('?')})}")
    raise _unauthorized()


def _unauthorized() -> Problem:
    return Problem(
        401,
        "send the header Authorization: Bearer TOKEN with the service's token, or log in",
        {"WWW-Authenticate": 'Bearer realm="superres notifier"'},
    )


@login.get("/login")
def form() -> str:
    """The form."""
    return render_template("login.html", next=_local(request.args.get("next", "/")), error="")


@login.post("/login")
def enter() -> AnyResponse | tuple[str, int]:
    """Takes the token and gives a cookie for it."""
    _check_origin()
    target = _local(request.form.get("next", "/"))
    if not _is_token(request.form.get("token", "").strip()):
        page = render_template("login.html", next=target, error="That is not the token.")
        return page, 403
    session.clear()
    session["reader"], session.permanent = True, True
    return redirect(target, 303)


@login.post("/logout")
def leave() -> AnyResponse:
    """Takes the cookie back."""
    _check_origin()
    session.clear()
    return redirect("/login", 303)


def _check_origin() -> None:
    """A form of another site must not log anybody in or out."""
    origin = request.headers.get("Origin")
    public = urlsplit(service().settings.notifier.public_url or "").netloc
    # A proxy need not pass on the name that it was asked under.
    foreign = origin is not None and _host_of(origin) not in {request.host, public} - {""}
    if foreign or request.headers.get("Sec-Fetch-Site", "same-origin") not in (
        "same-origin",
        "none",
    ):
        raise Problem(403, "this form belongs to another site")


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _local(target: str) -> str:
    """Where to go after a login: a path of this site, whatever a link asks for."""
    local = target.startswith("/")
    # Browsers take \\ for /, and drop line ends.
    plain = all(" " < letter != "\\" for letter in target) and not target.startswith("//")
    return target if local and plain else "/"


def _bearer() -> str:
    return bearer_of(request.headers.get("Authorization", ""))


def _is_token(given: str) -> bool:
    tokens = service().tokens
    matches = [
        same_token(given, token) for token in (tokens.write, tokens.read) if token is not None
    ]
    return any(matches)


def _policy(settings: Settings) -> str:
    """What the pages may load: their own, and pictures from S3 where they lie there."""
    places = [uri for uri in settings.dataset.model_dump().values() if storage.is_s3(uri)]
    signed = [urlsplit(storage.presigned(storage.join(uri, "x"), 1)) for uri in places]
    images = " ".join(["'self'", *sorted({f"{url.scheme}://{url.netloc}" for url in signed})])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        f"img-src {images}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )

"""The Flask application with all its routes."""

import logging
from pathlib import Path

from flask import Response, jsonify, request
from flask_limiter import Limiter
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from werkzeug.middleware.proxy_fix import ProxyFix

import superres
from notifier.web import api, health, media, pages, security, subscriptions_api
from notifier.web.context import Service
from notifier.web.problems import ProblemBody, invalid_request
from notifier.web.problems import register as register_problems
from notifier.web.stream import stream_blueprint
from superres.service.addresses import network_of
from superres.service.forwarded import warn_of_proxies
from superres.service.problems import Problem

_PACKAGE = Path(__file__).parents[1]
_WRITES_PER_MINUTE = 120


def create_app(service: Service, host: str = "127.0.0.1") -> OpenAPI:
    """Returns the application of a service that listens on ``host``."""
    settings = service.settings.notifier
    app = OpenAPI(
        "notifier",
        info=Info(title="superres notifier", version=superres.__version__),
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        validation_error_model=ProblemBody,
        validation_error_callback=invalid_request,
        doc_ui=False,
        root_path=str(_PACKAGE),
    )
    app.extensions["notifier"] = service
    app.logger.setLevel(logging.CRITICAL)  # web.problems logs errors as events
    health.measure_requests(app)
    app.before_request(_require_length)
    if not settings.proxies:
        warn_of_proxies(app, "notifier.proxies")
    security.secure(app, service.settings, service.tokens, host)
    register_problems(app)
    _limit(app)
    for blueprint in (pages.blueprint, media.blueprint, security.login):
        app.register_blueprint(blueprint)
    app.register_blueprint(health.health_routes(service))
    app.register_blueprint(stream_blueprint(settings.threads))
    for interface in (api.blueprint, subscriptions_api.blueprint):
        app.register_api(interface)

    @app.route(f"{api.PREFIX}/openapi.json")
    def document() -> Response:
        return jsonify(app.api_doc)

    if settings.proxies:
        hops = settings.proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]  # as Flask documents it
    return app


def _require_length() -> None:
    """Refuses a body of unknown length: the server awaits such a one in a thread."""
    if "Transfer-Encoding" in request.headers:
        raise Problem(411, "send the header Content-Length with the size of the body")


def _client() -> str:
    return network_of(request.remote_addr or "")


def _limit(app: OpenAPI) -> None:
    limiter = Limiter(_client, app=app, storage_uri="memory://", headers_enabled=True)
    writes = ["POST", "PATCH", "DELETE"]
    limiter.limit(f"{_WRITES_PER_MINUTE}/minute", methods=writes)(subscriptions_api.blueprint)

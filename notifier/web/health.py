"""Health routes and request metrics of the notifier."""

from time import perf_counter

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import Histogram

from notifier.web.context import Service
from superres.service.health import Health, unexplained
from superres.service.health_blueprint import health_blueprint


def health_routes(service: Service) -> Blueprint:
    """``/healthz``, ``/readyz`` and ``/metrics``."""
    others = service.private or service.settings.notifier.public_gallery
    ready = unexplained(service.ready) if others else service.ready
    return health_blueprint(Health(service.registry, ready=ready))


def measure_requests(app: Flask) -> None:
    """Measures every request except streams, which last as long as their page is open."""
    seconds = Histogram(
        "superres_notifier_request_seconds",
        "Seconds from a request to its response",
        ("route", "status"),
        registry=app.extensions["notifier"].registry,
    )

    def begin() -> None:
        g.began = perf_counter()

    def end(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        if route != "/events":
            seconds.labels(route, response.status_code).observe(perf_counter() - g.began)
        return response

    app.before_request(begin)
    app.after_request(end)

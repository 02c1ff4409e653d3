"""Health routes and request metrics of the notifier."""

from time import perf_counter

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import Histogram

from notifier.web.context import Service
from superres.service.health import Health
from superres.service.health_blueprint import health_blueprint


def health_routes(service: Service) -> Blueprint:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    def ready() -> str:
        complaint = service.ready()
        # Anybody may ask, so the reason is only shown where everybody may read everything.
        return "not ready; the log says why" if complaint and service.private else complaint

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

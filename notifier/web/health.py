"""Whether the notifier lives and is ready, and its metrics."""

from time import perf_counter

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest

from notifier.web.context import service

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process lives."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
def readyz() -> Response:
    """It can do its work."""
    complaint = service().ready()
    if complaint and service().guarded:
        complaint = "not ready; the log says why"  # this answers strangers too
    return Response(f"{complaint or 'ok'}\n", 503 if complaint else 200, mimetype="text/plain")


@blueprint.get("/metrics")
def metrics() -> Response:
    """For Prometheus."""
    return Response(generate_latest(service().registry), content_type=CONTENT_TYPE_LATEST)


def measure(app: Flask) -> None:
    """Measures every request but the streams, which last as long as their page is open."""
    seconds = Histogram(
        "superres_notifier_request_seconds",
        "Seconds from a request to its answer",
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

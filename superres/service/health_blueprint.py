"""The health routes as part of a Flask application."""

from collections.abc import Callable

from flask import Blueprint, Response

from superres.service.health import Health, HealthResponse

BLUEPRINT = "health"


def health_blueprint(health: Health) -> Blueprint:
    """``/healthz``, ``/readyz`` and ``/metrics``; their endpoints are ``health.healthz`` etc."""
    blueprint = Blueprint(BLUEPRINT, __name__)
    for path, route in health.routes().items():
        blueprint.add_url_rule(path, path.removeprefix("/"), _view(route), methods=["GET"])
    return blueprint


def _view(route: Callable[[], HealthResponse]) -> Callable[[], Response]:
    def view() -> Response:
        found = route()
        return Response(found.body, found.status, mimetype=found.content_type)

    return view

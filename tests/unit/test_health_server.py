"""Metrics and health of a service, over HTTP."""

import socket
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry

from ingestion.consumer.prometheus_metrics import new_metrics
from superres.errors import PrerequisiteError
from superres.service.health import health_server


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_metrics_and_health_are_served():
    metrics = new_metrics()
    metrics.stored.inc(3)
    complaint = {"ready": "no partitions yet"}
    with health_server(0, metrics.registry, lambda: "", lambda: complaint["ready"]) as port:
        assert get(port, "/healthz") == (200, "ok\n")
        assert get(port, "/readyz?full") == (503, "no partitions yet\n")
        complaint["ready"] = ""
        assert get(port, "/readyz") == (200, "ok\n")
        assert "superres_ingestion_stored_total 3.0\n" in get(port, "/metrics")[1]
        assert get(port, "/")[0] == 404
    with pytest.raises(ConnectionRefusedError):
        get(port, "/healthz")


def test_a_taken_port_is_reported_with_the_remedy():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        server = health_server(port, CollectorRegistry(), lambda: "", lambda: "")
        with pytest.raises(PrerequisiteError, match=rf"{port} .*ingestion\.consumer_port"), server:
            pass

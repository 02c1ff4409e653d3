"""A local server that answers like Amazon MSK's API when asked for the brokers of a cluster."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from ingestion import brokers
from tests.support.http_server import HttpServer

CLUSTER_ARN = "arn:aws:kafka:eu-central-1:123456789012:cluster/superres-dev/0d2f3c4e-1"


@contextmanager
def msk_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    """Points boto3 at a local server; brokers that were looked up before are forgotten."""
    brokers._msk_brokers.cache_clear()
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    with HttpServer() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        yield server
    brokers._msk_brokers.cache_clear()


def serve_brokers(server: HttpServer, status: int = 200, **content: str) -> None:
    """Sets the response for ``CLUSTER_ARN``."""
    path = f"/v1/clusters/{quote(CLUSTER_ARN, safe='')}/bootstrap-brokers"
    headers = {"Content-Type": "application/json"}
    server.serve(path, json.dumps(content).encode(), status=status, headers=headers)

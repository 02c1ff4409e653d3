"""HTTP as clients of all kinds speak it, over raw sockets, with the worker of the services."""

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from tests.support.image_files import noise, png
from tests.support.kafka_broker import PATIENCE
from tests.support.slow_clients import request
from tests.support.upload_app import BOUNDARY, GOOD, TOKEN, multipart_body
from tests.support.upload_process import upload_service

KIND = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
TOKEN_HEADER = f"Authorization: Bearer {TOKEN}"
GET = request("GET", "/healthz")


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    with upload_service(tmp_path_factory.mktemp("service")) as (opened, _):
        yield opened


@pytest.fixture
def client(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as opened:
        yield opened


def response(client: socket.socket, method: str = "GET") -> tuple[int, bytes]:
    """The next response."""
    answer = HTTPResponse(client, method=method)
    # Without a buffer, the response after it stays in the socket.
    answer.fp = client.makefile("rb", buffering=0)  # type: ignore[assignment]
    answer.begin()
    return answer.status, answer.read()


def is_closed(client: socket.socket) -> bool:
    """Whether the service ends the connection, without sending anything more."""
    return client.recv(100) == b""


def test_a_connection_serves_one_request_after_another(client):
    for _ in range(3):
        client.sendall(GET)
        assert response(client) == (200, b"ok\n")


def test_requests_that_arrive_together_are_answered_in_order(client):
    client.sendall(GET + request("GET", "/nothing") + GET[:20])
    assert response(client) == (200, b"ok\n")
    assert response(client)[0] == 404
    client.sendall(GET[20:])
    assert response(client) == (200, b"ok\n")


def test_a_body_and_the_next_request_may_arrive_together(client):
    body = multipart_body("boat.png", GOOD)
    head = request("POST", "/uploads", TOKEN_HEADER, KIND, f"Content-Length: {len(body)}")
    client.sendall(head + body + GET)
    assert response(client)[0] == 202
    assert response(client) == (200, b"ok\n")


def test_a_request_may_arrive_byte_by_byte(client):
    for number in range(len(GET)):
        client.sendall(GET[number : number + 1])
    assert response(client) == (200, b"ok\n")


@pytest.mark.parametrize("content", [GOOD, png(noise(200, 200, 3, 8))], ids=["small", "large"])
def test_a_client_may_await_the_go_ahead_for_a_body(client, content):
    body = multipart_body("boat.png", content)
    length = f"Content-Length: {len(body)}"
    client.sendall(request("POST", "/uploads", TOKEN_HEADER, KIND, length, "Expect: 100-continue"))
    assert client.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    client.sendall(body)
    status, answer = response(client)  # HTTPResponse skips a second 100
    assert (status, b'"image_id"' in answer) == (202, True)


def test_a_body_may_be_sent_in_chunks(client):
    body = multipart_body("boat.png", GOOD)
    client.sendall(request("POST", "/uploads", TOKEN_HEADER, KIND, "Transfer-Encoding: chunked"))
    for start in range(0, len(body), 100):
        part = body[start : start + 100]
        client.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    client.sendall(b"0\r\n\r\n")
    assert response(client)[0] == 202
    client.sendall(GET)
    assert response(client) == (200, b"ok\n")


def test_a_body_that_nobody_reads_ends_the_connection_after_the_response(client):
    client.sendall(request("POST", "/uploads", KIND, "Content-Length: 200000") + b"x" * 1000)
    assert response(client)[0] == 401
    assert is_closed(client)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_request_is_refused_at_once(client, sent, status):
    client.sendall(sent)
    assert response(client)[0] == status
    assert is_closed(client)


def test_old_clients_and_those_who_ask_for_heads_alone(client):
    client.sendall(request("HEAD", "/uploads"))
    assert response(client, "HEAD") == (200, b"")
    client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert response(client) == (200, b"ok\n")
    assert is_closed(client)


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(port):
    for sent in (
        b"",
        GET[:20],
        request("POST", "/uploads", TOKEN_HEADER, KIND, "Content-Length: 9000"),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as gone:
            gone.sendall(sent)
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/healthz")
    assert connection.getresponse().status == 200
    connection.close()

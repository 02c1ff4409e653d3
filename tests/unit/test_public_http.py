"""The HTTP client for untrusted URLs: which addresses it reaches, over real sockets."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.errors import ForbiddenUrlError, SuperresError, TransferError
from superres.service.public_http import (
    Client,
    public_addresses,
    retry_after_seconds,
)
from tests.support.http_server import HttpServer


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer() as opened:
        yield opened


@pytest.fixture
def client(server: HttpServer) -> Iterator[Client]:
    with closing(Client({server.host})) as opened:
        yield opened


def fetched(client: Client, url: str, seconds: float = 10.0, redirects: int = 5) -> bytes:
    with client.request("GET", url, seconds=seconds, redirects=redirects) as response:
        return b"".join(response.chunks)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://LOCALHOST:1/",
        "http://2130706433:1/",
        "http://0x7f.1:1/",
        "http://0x7f000001:1/",
        "http://0177.0.0.1:1/",
        "http://127.1:1/",
        "http://0:1/",
        "http://[::1]:1/",
        "http://[::ffff:127.0.0.1]:1/",
        "http://[::ffff:7f00:1]:1/",
        "http://[::]:1/",
        "http://127。0。0。1:1/",
        "http://①②⑦.0.0.1:1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "https://10.0.0.1/",
    ],
)
def test_a_private_host_is_refused_in_every_spelling(url):
    with closing(Client()) as client, pytest.raises(ForbiddenUrlError, match="not public"):
        fetched(client, url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org/a", "not an http or https URL"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("gopher://127.0.0.1/", "not an http or https URL"),
        ("http:///path", "not an http or https URL"),
        ("example.org/a.png", "not an http or https URL"),
        ("", "not an http or https URL"),
        ("http://user@example.org/", "must not contain a user or password"),
        ("http://user:secret@example.org/", "must not contain a user or password"),
        ("http://:@example.org/", "must not contain a user or password"),
        ("http://example.org:99999/", "not a valid URL"),
        ("http://[::1/", "not a valid URL"),
        ("http://a\0b/", "not a valid host name"),
        ("http://a b/", "not a valid host name"),
        ("http://ü..example/", "not a valid host name"),
    ],
)
def test_a_url_that_is_not_plain_http_is_refused(url, reason):
    with closing(Client()) as client, pytest.raises(ForbiddenUrlError, match=reason) as refused:
        fetched(client, url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=30).map("http://127.0.0.1:1/{}".format) | st.text(max_size=30))
def test_any_text_raises_one_of_our_errors(url):
    with closing(Client()) as client, pytest.raises((ForbiddenUrlError, TransferError)):
        fetched(client, url)


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch):
    def resolve(host, port, **_):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("8.8.8.8", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ForbiddenUrlError, match=r"10\.0\.0\.1"):
        public_addresses("rebound.example", 80)
    assert public_addresses("rebound.example", 80, {"rebound.example"}) == ["8.8.8.8", "10.0.0.1"]


def test_the_connection_goes_to_the_checked_address(monkeypatch, server):
    """A name that resolves to something else the second time (DNS rebinding) gains nothing."""
    server.serve("/a", b"there")
    port = int(server.host.split(":")[1])
    asked = []
    real = socket.getaddrinfo

    def resolve(host, *given, **more):
        if host != "rebound.example":
            return real(host, *given, **more)
        asked.append(host)
        return real("127.0.0.1" if len(asked) == 1 else "127.0.0.99", *given, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with closing(Client({"rebound.example"})) as client:
        assert fetched(client, f"http://rebound.example:{port}/a") == b"there"
    assert asked == ["rebound.example"]


def test_a_name_that_does_not_resolve_is_a_transfer_error(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with closing(Client()) as client, pytest.raises(TransferError, match="cannot be resolved"):
        fetched(client, "http://example.org/")


def test_a_host_is_allowed_with_or_without_its_port(server):
    url = server.serve("/a", b"content")
    for allowed in (server.host, "127.0.0.1"):
        with closing(Client({allowed})) as client:
            assert fetched(client, url) == b"content"
    for other in ("127.0.0.1:1", "127.0.0.2", "localhost"):
        with closing(Client({other})) as client, pytest.raises(ForbiddenUrlError):
            fetched(client, url)
    assert server.hits["/a"] == 2


def test_allowed_host_names_are_case_insensitive(server):
    server.serve("/a", b"content")
    port = server.host.split(":")[1]
    with closing(Client({f"LocalHost:{port}"})) as client:
        assert fetched(client, f"http://LOCALHOST:{port}/a") == b"content"


def test_redirects_are_followed_on_one_connection(server, client):
    server.serve("/good", b"at last")
    server.serve("/second", redirect_to=server.url("/good"))
    url = server.serve("/first", b"moved", redirect_to="/second")
    with client.request("GET", url, seconds=10, redirects=2) as response:
        assert (response.url.full, b"".join(response.chunks)) == (server.url("/good"), b"at last")
    assert server.connections == 1


def test_redirects_are_not_followed_by_default(server, client):
    url = server.serve("/first", redirect_to="/second")
    with client.request("GET", url, seconds=10) as response:
        assert (response.status, response.headers["location"]) == (302, "/second")
    assert server.hits["/second"] == 0


def test_a_redirect_to_a_non_ascii_path_is_followed(server, client):
    server.serve("/%C3%BCber.png", b"there")
    url = server.serve("/a", redirect_to="/über.png".encode().decode("latin-1"))
    assert fetched(client, url) == b"there"


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:1/", "http://169.254.169.254/", "http://[::1]:1/", "//10.0.0.1/x"],
)
def test_a_redirect_to_a_private_address_is_refused(server, client, target):
    url = server.serve("/out", redirect_to=target)
    with pytest.raises(ForbiddenUrlError, match="not public"):
        fetched(client, url)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://[bad", "http://u:p@x/"])
def test_a_redirect_to_anything_but_an_http_url_is_refused(server, client, target):
    url = server.serve("/out", redirect_to=target)
    with pytest.raises(ForbiddenUrlError):
        fetched(client, url)


def test_a_redirect_loop_ends(server, client):
    server.serve("/b", redirect_to="/a")
    url = server.serve("/a", redirect_to="/b")
    with pytest.raises(TransferError, match="more than 5 redirects"):
        fetched(client, url)
    assert server.hits["/a"] + server.hits["/b"] == 6


@pytest.mark.parametrize(
    "slow",
    [
        {"drip_seconds": 0.05},
        {"header_drip_seconds": 0.05},
        {"hold_seconds": 30.0},
    ],
)
def test_a_slow_response_times_out(server, client, slow):
    url = server.serve("/slow", bytes(1000), **slow)
    began = time.monotonic()
    with pytest.raises(TransferError, match="timed out"):
        fetched(client, url, seconds=0.4)
    assert time.monotonic() - began < 8


def test_waiting_for_a_free_connection_times_out(server):
    held = server.serve("/held", bytes(10))
    with closing(Client({server.host}, connections=1)) as client:
        began = time.monotonic()
        with client.request("GET", held, seconds=10):
            # Another thread's request, as far as the pool can tell.
            with pytest.raises(TransferError, match="timed out"):
                fetched(client, server.url("/held"), seconds=0.2)
            assert time.monotonic() - began < 8


def test_a_truncated_response_is_a_transfer_error(server, client):
    url = server.serve("/cut", bytes(100_000), cut_at=50_000)
    with pytest.raises(TransferError, match="cut"):
        fetched(client, url)


def test_a_refused_connection_is_a_transfer_error(client):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with closing(Client({"127.0.0.1"})) as client, pytest.raises(TransferError):
        fetched(client, f"http://127.0.0.1:{port}/")


def test_connections_are_reused(server, client):
    urls = [server.serve(f"/{number}", bytes([number])) for number in range(20)]
    assert [fetched(client, url) for url in urls] == [bytes([number]) for number in range(20)]
    assert server.connections == 1


def test_the_client_works_after_a_response_was_left_unread(server, client):
    url = server.serve("/large", bytes(5_000_000))
    for _ in range(10):
        with client.request("GET", url, seconds=10) as response:
            assert next(response.chunks)
    assert fetched(client, server.serve("/small", b"x")) == b"x"


def test_a_response_that_is_not_http_is_a_transfer_error():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

        thread = Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with closing(Client({"127.0.0.1"})) as client, pytest.raises(TransferError):
            fetched(client, url)
        thread.join()


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("9" * 5000, float("inf")),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60),
        ("Sat, 31 Jan 2026 12:01:00 -0000", 60),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("Sat, 31 Jan 99999 11:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999", None),
        ("0.5", 0.5),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after_seconds(header, datetime(2026, 1, 31, 12, 0, tzinfo=UTC)) == seconds


# ---- secrets


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cr3t@127.0.0.1/a.jpg",
        "https://127.0.0.1:s3cr3t/a.jpg",
        "ftp://me:s3cr3t@example.org/a.jpg?sig=s3cr3t",
        "http://127.0.0.1/a.jpg?sig=s3cr3t",
        "http://[s3cr3t@::1/a?sig=s3cr3t",
    ],
)
def test_no_error_names_the_secret_of_a_url(client, url):
    with pytest.raises(SuperresError) as raised:
        fetched(client, url)
    assert "sig=s3cr3t" not in str(raised.value)
    assert "s3cr3t@" not in str(raised.value)


def test_no_error_names_the_secret_of_a_redirect(server, client):
    secret = "sig=s3cr3t"
    loop = server.serve("/a", redirect_to=f"/a?{secret}")
    cut = server.serve("/b", redirect_to=server.serve("/c", bytes(100_000), cut_at=50_000))
    strange = server.serve("/d", redirect_to=f"http://[me:s3cr3t/?{secret}")
    for url in (f"{loop}?{secret}", f"{cut}?{secret}", f"{strange}?{secret}"):
        with pytest.raises(SuperresError) as raised:
            fetched(client, url)
        assert "s3cr3t" not in str(raised.value)


def test_no_error_quotes_what_a_server_sends_back():
    """h11 quotes a line that is no HTTP, and a server may echo the address that it got."""

    def answer(listener: socket.socket) -> None:
        connection = listener.accept()[0]
        with connection:
            connection.recv(1000)
            connection.sendall(b"s3cr3t is no status line\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=answer, args=(listener,))
        thread.start()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        with closing(Client({host})) as client, pytest.raises(TransferError) as raised:
            fetched(client, f"http://{host}/a?sig=s3cr3t")
        thread.join()
    assert str(raised.value).startswith(f"http://{host}/a#")
    assert "illegal" in str(raised.value)
    assert "s3cr3t" not in str(raised.value)

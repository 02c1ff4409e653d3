"""The guarded HTTP client: which addresses it reaches, over real sockets."""

import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from superres.errors import ForbiddenUrlError, TransferError
from superres.service.public_http import Client, is_public, public_addresses
from tests.support.http_server import HttpSource

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.0.9",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
_REFUSED = [
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
]


@pytest.fixture
def source() -> Iterator[HttpSource]:
    with HttpSource() as server:
        yield server


@pytest.fixture
def client(source: HttpSource) -> Iterator[Client]:
    with closing(Client({source.host})) as made:
        yield made


def fetched(client: Client, url: str, seconds: float = 10.0, redirects: int = 5) -> bytes:
    with client.request("GET", url, seconds=seconds, redirects=redirects) as answer:
        return b"".join(answer.chunks)


@pytest.mark.parametrize("address", PRIVATE)
def test_address_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_address_is_public(address):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_public_ipv4_is_what_iana_reserved_for_nothing_else(address):
    assert is_public(str(address)) == all(address not in network for network in _REFUSED)


@given(st.ip_addresses(v=4))
def test_embedded_ipv4_counts_as_itself(address):
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    teredo = number ^ 0xFFFFFFFF
    embedding = [
        f"::ffff:{address}",
        f"64:ff9b::{address}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:808:808:0:0:{teredo >> 16:x}:{teredo & 0xFFFF:x}",
    ]
    assert {is_public(text) for text in embedding} == {is_public(str(address))}


@given(st.ip_addresses(v=6))
def test_public_ipv6_is_global_unicast_or_embeds_a_public_ipv4(address):
    if is_public(str(address)):
        nat64 = ipaddress.ip_network("64:ff9b::/96")
        unicast = ipaddress.ip_network("2000::/3")
        assert address in unicast or address in nat64 or address.ipv4_mapped


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
def test_private_hosts_are_refused_however_they_are_written(url):
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
        ("http://user@example.org/", "no user or password"),
        ("http://user:secret@example.org/", "no user or password"),
        ("http://:@example.org/", "no user or password"),
        ("http://example.org:99999/", "no valid URL"),
        ("http://[::1/", "no valid URL"),
        ("http://a\0b/", "no valid host name"),
        ("http://a b/", "no valid host name"),
        ("http://ü..example/", "no valid host name"),
    ],
)
def test_urls_of_other_kinds_are_refused(url, reason):
    with closing(Client()) as client, pytest.raises(ForbiddenUrlError, match=reason) as refused:
        fetched(client, url)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@given(st.text(max_size=30).map("http://127.0.0.1:1/{}".format) | st.text(max_size=30))
def test_any_text_is_refused_with_our_error(url):
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


def test_the_connection_goes_to_the_checked_address(monkeypatch, source):
    """A name that resolves to something else the second time (DNS rebinding) gains nothing."""
    source.serve("/a", b"there")
    port = int(source.host.split(":")[1])
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


def test_a_name_that_does_not_resolve_may_be_tried_again(monkeypatch):
    def fail(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with closing(Client()) as client, pytest.raises(TransferError, match="cannot be resolved"):
        fetched(client, "http://example.org/")


def test_allowed_hosts_with_and_without_port(source):
    url = source.serve("/a", b"content")
    for allowed in (source.host, "127.0.0.1"):
        with closing(Client({allowed})) as client:
            assert fetched(client, url) == b"content"
    for other in ("127.0.0.1:1", "127.0.0.2", "localhost"):
        with closing(Client({other})) as client, pytest.raises(ForbiddenUrlError):
            fetched(client, url)
    assert source.hits["/a"] == 2


def test_allowed_names_have_no_case(source):
    source.serve("/a", b"content")
    port = source.host.split(":")[1]
    with closing(Client({f"LocalHost:{port}"})) as client:
        assert fetched(client, f"http://LOCALHOST:{port}/a") == b"content"


def test_redirects_are_followed_on_one_connection(source, client):
    source.serve("/good", b"at last")
    source.serve("/second", redirect_to=source.url("/good"))
    url = source.serve("/first", b"moved", redirect_to="/second")
    with client.request("GET", url, seconds=10, redirects=2) as answer:
        assert (answer.url, b"".join(answer.chunks)) == (source.url("/good"), b"at last")
    assert source.connections == 1


def test_redirects_are_not_followed_unasked(source, client):
    url = source.serve("/first", redirect_to="/second")
    with client.request("GET", url, seconds=10) as answer:
        assert (answer.status, answer.headers["location"]) == (302, "/second")
    assert source.hits["/second"] == 0


def test_a_redirect_to_letters_beyond_ascii_reaches_them(source, client):
    source.serve("/%C3%BCber.png", b"there")
    url = source.serve("/a", redirect_to="/über.png".encode().decode("latin-1"))
    assert fetched(client, url) == b"there"


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:1/", "http://169.254.169.254/", "http://[::1]:1/", "//10.0.0.1/x"],
)
def test_a_redirect_to_a_private_address_is_refused(source, client, target):
    url = source.serve("/out", redirect_to=target)
    with pytest.raises(ForbiddenUrlError, match="not public"):
        fetched(client, url)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://[bad", "http://u:p@x/"])
def test_a_redirect_to_no_http_url_is_refused(source, client, target):
    url = source.serve("/out", redirect_to=target)
    with pytest.raises(ForbiddenUrlError):
        fetched(client, url)


def test_a_redirect_loop_ends(source, client):
    source.serve("/b", redirect_to="/a")
    url = source.serve("/a", redirect_to="/b")
    with pytest.raises(TransferError, match="more than 5 redirects"):
        fetched(client, url)
    assert source.hits["/a"] + source.hits["/b"] == 6


@pytest.mark.parametrize(
    "slow",
    [
        {"drip_seconds": 0.05},
        {"header_drip_seconds": 0.05},
        {"hold_seconds": 30.0},
    ],
)
def test_slow_answers_are_cut_off(source, client, slow):
    url = source.serve("/slow", bytes(1000), **slow)
    began = time.monotonic()
    with pytest.raises(TransferError, match="no answer in time"):
        fetched(client, url, seconds=0.4)
    assert time.monotonic() - began < 8


def test_waiting_for_a_connection_is_cut_off_too(source):
    held = source.serve("/held", bytes(10))
    with closing(Client({source.host}, connections=1)) as client:
        began = time.monotonic()
        with client.request("GET", held, seconds=10):
            # Another thread's request, as far as the pool can tell.
            with pytest.raises(TransferError, match="no answer in time"):
                fetched(client, source.url("/held"), seconds=0.2)
            assert time.monotonic() - began < 8


def test_an_answer_cut_in_the_middle_is_a_transfer_error(source, client):
    url = source.serve("/cut", bytes(100_000), cut_at=50_000)
    with pytest.raises(TransferError, match="cut"):
        fetched(client, url)


def test_nobody_there_is_a_transfer_error(client):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with closing(Client({"127.0.0.1"})) as client, pytest.raises(TransferError):
        fetched(client, f"http://127.0.0.1:{port}/")


def test_connections_are_used_again(source, client):
    urls = [source.serve(f"/{number}", bytes([number])) for number in range(20)]
    assert [fetched(client, url) for url in urls] == [bytes([number]) for number in range(20)]
    assert source.connections == 1


def test_a_connection_serves_on_after_an_answer_was_left_unread(source, client):
    url = source.serve("/large", bytes(5_000_000))
    for _ in range(10):
        with client.request("GET", url, seconds=10) as answer:
            assert next(answer.chunks)
    assert fetched(client, source.serve("/small", b"x")) == b"x"


def test_answers_that_are_no_http_are_transfer_errors():
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

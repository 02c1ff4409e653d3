"""An HTTP client for untrusted URLs: it connects to public addresses only.

A URL in a message or a subscription may point at this machine, its network or a cloud's metadata
service (server-side request forgery). So a name is resolved once, every address is checked, and the
connection goes to a checked address: a second resolution could return another one. The check is
part of connecting, so it covers every hop of a redirect. Errors name URLs without their secrets.
Needs httpcore (superres[ingestion]).
"""

import re
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import httpcore

from superres.errors import ForbiddenUrlError, TransferError
from superres.redaction import SecretUrl
from superres.service.addresses import is_public

_IDLE_SECONDS = 15.0  # the longest silence within a transfer
_TURN_SECONDS = 0.5  # after which a silent transfer looks whether it is to stop
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECT_BYTES = 1 << 14  # of a redirect's body, read so that its connection can be reused
_NOT_IN_HOST = re.compile(r"[\x00-\x20\x7f]")
_QUOTED_BYTES = re.compile(r":?\s*\b(bytearray\(|b['\"]).*", re.DOTALL)


@dataclass(frozen=True)
class Response:
    """A response whose body has not been read yet: ``chunks`` yields it as it arrives."""

    url: SecretUrl
    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Client:
    """Connections to public addresses, kept open for reuse; thread-safe.

    Args:
        allowed_hosts: ``name`` or ``name:port`` that may have any address, for tests and for your
            own services.
        connections: maximum number of open connections.
        stop: once it is set, every transfer fails at its next read or write.
    """

    def __init__(
        self,
        allowed_hosts: Collection[str] = (),
        connections: int = 8,
        stop: threading.Event | None = None,
    ) -> None:
        self._stop = stop or threading.Event()
        self._pool = httpcore.ConnectionPool(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=15.0,
            network_backend=_CheckedBackend(frozenset(host.lower() for host in allowed_hosts)),
        )

    def close(self) -> None:
        """Closes every connection."""
        self._pool.close()

    @contextmanager
    def request(
        self,
        method: str,
        url: str | SecretUrl,
        *,
        seconds: float,
        redirects: int = 0,
        headers: Sequence[tuple[str, str]] = (),
        content: bytes | None = None,
    ) -> Iterator[Response]:
        """Sends a request and yields the response, after at most ``redirects`` redirects.

        ``seconds`` is the timeout for everything, including reading the body. No compression is
        offered, so bodies arrive as the server stores them.

        Raises:
            ForbiddenUrlError: not an http(s) URL, or it leads to an address that is not public.
            TransferError: no connection, a timeout, or a response that was cut off.
        """
        _clock.deadline = time.monotonic() + seconds
        _clock.stop = self._stop
        sent = [("User-Agent", "superres"), ("Accept-Encoding", "identity"), *headers]
        target = url if isinstance(url, SecretUrl) else SecretUrl(url)
        for _ in range(redirects + 1):
            with _as_our_errors(target), self._opened(method, target, sent, content) as response:
                location = _header(response, b"location")
                if redirects and response.status in _REDIRECTS and location:
                    target = _joined(target, location)
                    _read_rest(response)
                    continue
                fields = {
                    name.decode("latin-1").lower(): value.decode("latin-1")
                    for name, value in response.headers
                }
                yield Response(target, response.status, fields, response.iter_stream())
                return
        raise TransferError(f"{target}: more than {redirects} redirects")

    @contextmanager
    def _opened(
        self, method: str, url: SecretUrl, headers: list[tuple[str, str]], content: bytes | None
    ) -> Iterator[httpcore.Response]:
        target = _parsed(url)
        timeouts = {"connect": _IDLE_SECONDS, "read": _IDLE_SECONDS, "write": _IDLE_SECONDS}
        host = _host(target) if target.port is None else f"{_host(target)}:{target.port}"
        with self._pool.stream(
            method,
            target,
            headers=[("Host", host), *headers],
            content=content,
            # The backend bounds the other three by the deadline; it never sees a wait in the pool.
            extensions={"timeout": timeouts | {"pool": _clock.left(_IDLE_SECONDS)}},
        ) as response:
            yield response


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """The wait that a Retry-After header asks for (RFC 9110, 10.2.3: seconds, or a date).

    Returns 0 or more; None without the header and where it is malformed. Accepts decimals, which
    some servers send.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is in UTC, the only zone that HTTP has.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, OverflowError):  # not a date, or one outside the calendar
        return None


def public_addresses(host: str, port: int, allowed_hosts: Collection[str] = ()) -> list[str]:
    """The addresses of a host; all of them are public, unless the host is one of those allowed.

    Raises ``ForbiddenUrlError`` when an address is not public, ``TransferError`` when there is
    none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise TransferError(f"{host}: cannot be resolved: {error}") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not {host.lower(), f"{host.lower()}:{port}"} & set(allowed_hosts):
        for address in addresses:
            if not is_public(address):
                raise ForbiddenUrlError(
                    f"{host} has the address {address}, which is not public; if the host is "
                    "yours, add it to allowed_hosts"
                )
    return addresses


def _parsed(url: SecretUrl) -> httpcore.URL:
    try:
        parts = urlsplit(url.full)
        port, host = parts.port, parts.hostname
    except ValueError:  # its text quotes what may be a password
        raise ForbiddenUrlError(f"{str(url)!r}: not a valid URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ForbiddenUrlError(f"{str(url)!r}: not an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenUrlError(
            f"{parts.scheme}://…@{host}: a URL must not contain a user or password"
        )
    try:
        name = host.encode("ascii") if host.isascii() else host.encode("idna")
    except UnicodeError:
        name = b""
    if not name or _NOT_IN_HOST.search(host):
        raise ForbiddenUrlError(f"{host!r}: not a valid host name")
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._", errors="replace")
    query = quote(parts.query, safe="/?%:@!$&'()*+,;=~-._[]", errors="replace")
    target = f"{path}?{query}" if query else path
    return httpcore.URL(scheme=parts.scheme, host=name, port=port, target=target.encode())


def _host(url: httpcore.URL) -> str:
    host = url.host.decode()
    return f"[{host}]" if ":" in host else host


def _joined(url: SecretUrl, location: str) -> SecretUrl:
    try:
        return SecretUrl(urljoin(url.full, location))
    except ValueError:
        raise ForbiddenUrlError(f"{url}: redirects to what is not a valid URL") from None


def _read_rest(response: httpcore.Response) -> None:
    """Reads the rest of a small body; with unread bytes the connection could not be reused."""
    size = 0
    for chunk in response.iter_stream():
        size += len(chunk)
        if size > _REDIRECT_BYTES:
            return


def _header(response: httpcore.Response, lower_name: bytes) -> str | None:
    for name, value in response.headers:
        if name.lower() == lower_name:
            # Like browsers, accepts a Location with raw UTF-8.
            return value.decode("utf-8", "replace")
    return None


@contextmanager
def _as_our_errors(url: SecretUrl) -> Iterator[None]:
    """Raises the errors of httpcore, while connecting or reading, as our own."""
    try:
        yield
    except httpcore.TimeoutException:
        raise TransferError(f"{url}: timed out") from None
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
        ssl.SSLError,
    ) as error:
        # Quotes of what the server sent are left out: it may send back what it was asked for.
        reason = " ".join(_QUOTED_BYTES.sub("", str(error)).split()) or type(error).__name__
        raise TransferError(f"{url}: {reason}") from None


class _Clock(threading.local):
    """The deadline of this thread's request; a connection serves many requests in turn."""

    deadline = 0.0
    stop = threading.Event()

    def left(self, timeout: float | None) -> float:
        """The seconds that one operation may take."""
        left = self.deadline - time.monotonic()
        if left <= 0 or self.stop.is_set():
            raise httpcore.ReadTimeout
        return left if timeout is None else min(left, timeout)


_clock = _Clock()


class _CheckedBackend(httpcore.NetworkBackend):
    """Resolves names itself and connects to checked addresses only."""

    def __init__(self, allowed_hosts: frozenset[str]) -> None:
        self._allowed_hosts = allowed_hosts
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Tries the checked addresses of the host in turn."""
        failure: Exception = httpcore.ConnectError(f"{host}: no address")
        for address in public_addresses(host, port, self._allowed_hosts):
            try:
                left = _clock.left(timeout)
                stream = self._sockets.connect_tcp(
                    address, port, left, local_address, socket_options
                )
                return _TimedStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A connection whose reads end with the request's deadline, however slowly bytes arrive."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Reads in short turns, so that a silent server does not outlast a stop."""
        silent_until = time.monotonic() + (_IDLE_SECONDS if timeout is None else timeout)
        while True:
            left = min(_clock.left(_TURN_SECONDS), silent_until - time.monotonic())
            try:
                return self._stream.read(max_bytes, max(left, 0.001))
            except httpcore.ReadTimeout:
                if time.monotonic() >= silent_until:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _clock.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _TimedStream(
            self._stream.start_tls(ssl_context, server_hostname, _clock.left(timeout))
        )

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

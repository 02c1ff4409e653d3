"""One spelling for equivalent URLs (RFC 3986)."""

import re
from urllib.parse import urlsplit

from superres.errors import ForbiddenUrlError
from superres.redaction import redacted_url

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# Escapes, and characters that need one: what RFC 3986 allows in a path and in a query (3.3, 3.4).
_IN_PATH = re.compile(rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/-]")
_IN_QUERY = re.compile(rb"%([0-9A-Fa-f]{2})|[^A-Za-z0-9._~!$&'()*+,;=:@/?-]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_QUOTED_CHARACTERS = 200  # of a bad URL, in an error message


def normalised_url(url: str) -> str:
    """The URL in the normal form of RFC 3986, 6.2.2 and 6.2.3, by which images are identified.

    - Case: scheme, host and hexadecimal digits of escapes (6.2.2.1); a host with non-ASCII letters
      is written in its ASCII form (IDNA).
    - Escapes: those of unreserved characters are decoded (``%7E`` is ``~``), and characters that a
      path or query must not contain are escaped, as UTF-8 (6.2.2.2). A ``%`` that starts no escape
      becomes ``%25``. Others stay: ``%2F`` is not ``/``.
    - Dot segments are resolved (6.2.2.3); empty segments stay.
    - An empty path becomes ``/``; an empty port or the default one is dropped (6.2.3), and so are
      the fragment, which is never sent, and a ``?`` without a query.

    The order of the query stays. Normalising twice changes nothing.

    Raises:
        ForbiddenUrlError: not an http or https URL, or one with a user or password.
    """
    shown = redacted_url(url)
    quoted = repr(shown if len(shown) <= _QUOTED_CHARACTERS else f"{shown[:_QUOTED_CHARACTERS]}…")
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = _normal_host(parts.hostname or "")
        path, query = parts.path.encode(), parts.query.encode()
    except ValueError:  # its text quotes what may be a password
        raise ForbiddenUrlError(f"{quoted}: not a valid URL; check its host and port") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise ForbiddenUrlError(f"{quoted}: not an http or https URL")
    if "@" in parts.netloc:
        raise ForbiddenUrlError(
            f"{parts.scheme}://…@{host}: a URL must not contain a user or password"
        )
    authority = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
    normal = f"{parts.scheme}://{authority}{_without_dots(_escaped(path, _IN_PATH))}"
    return f"{normal}?{_escaped(query, _IN_QUERY)}" if query else normal


def _normal_host(host: str) -> str:
    if not host:
        return ""
    if ":" in host:
        host = f"[{host}]"
    if not host.isascii():
        host = host.encode("idna").decode()
    host = host.lower()
    if not _HOST.fullmatch(host):
        raise ValueError("not a valid host name")
    return host


def _escaped(text: bytes, special: re.Pattern[bytes]) -> str:
    def normal(found: re.Match[bytes]) -> bytes:
        value = int(found[1], 16) if found[1] else found[0][0]
        return bytes([value]) if value in _UNRESERVED else b"%%%02X" % value

    return special.sub(normal, text).decode("ascii")


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4, for an absolute path."""
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    end = "/" if segments[-1] in (".", "..") and kept else ""
    return f"/{'/'.join(kept)}{end}"

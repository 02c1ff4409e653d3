"""A warning when a service stands behind a reverse proxy that nobody has told it of."""

from threading import Lock

import structlog
from flask import Flask, request

from superres.service.addresses import is_public

_log = structlog.get_logger()


def warn_of_proxies(app: Flask, setting: str) -> None:
    """Logs one warning when a connection from a private address has X-Forwarded-For.

    Until the number of proxies is set, all clients of a proxy are one to every limit.

    Args:
        app: trusts no such header.
        setting: the key of the configuration with the number of proxies.
    """
    first = Lock()  # taken by the request that is warned of, and kept

    @app.before_request
    def look() -> None:
        forwarded = "X-Forwarded-For" in request.headers
        if forwarded and _is_private(request.remote_addr) and first.acquire(blocking=False):
            _log.warning(
                "proxy_unknown",
                peer=request.remote_addr,
                reason="X-Forwarded-For is ignored, and all clients of the proxy count as one; "
                f"set {setting} to the number of reverse proxies in front",
            )


def _is_private(address: str | None) -> bool:
    try:
        return not is_public(address or "")
    except ValueError:
        return False

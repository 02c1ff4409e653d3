"""Bearer tokens (RFC 6750): read from the environment, and compared with what a request bears."""

import hmac
from collections.abc import Mapping

from superres.errors import ConfigError


def token_from(environment: Mapping[str, str], name: str, least: int = 1) -> str | None:
    """The token of a variable, if it is set.

    Raises ``ConfigError`` for one of fewer than ``least`` letters or that no header can carry.
    """
    token = environment.get(name, "").strip()
    if not token:
        return None
    if len(token) < least or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"{name}: expected {least} or more ASCII letters, digits and signs without a space, "
            "as `openssl rand -hex 16` gives"
        )
    return token


def bearer_of(authorization: str) -> str:
    """The token of an ``Authorization`` header; empty when it bears none."""
    scheme, _, given = authorization.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""


def same_token(given: str, wanted: str) -> bool:
    """Whether they are the same, in a time that does not tell how much of them is."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())

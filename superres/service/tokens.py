"""Bearer tokens (RFC 6750): from the environment, and from the headers of requests."""

import hmac
from collections.abc import Mapping

from superres.errors import ConfigError

MIN_LENGTH = 16
"""Of a token; ``openssl rand -hex 16`` gives 32."""


def token_from(environment: Mapping[str, str], name: str) -> str | None:
    """Returns the token in an environment variable; None where it is unset or empty.

    Raises ``ConfigError`` for a token that is too short or that no header can carry.
    """
    token = environment.get(name, "").strip()
    if not token:
        return None
    if len(token) < MIN_LENGTH or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"{name}: expected {MIN_LENGTH} or more ASCII letters, digits and signs, no spaces; "
            "`openssl rand -hex 16` makes one"
        )
    return token


def bearer_of(authorization: str) -> str:
    """Returns the token of an ``Authorization`` header; empty where it has none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def same_token(given: str, expected: str) -> bool:
    """Whether two tokens are equal, compared in constant time."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())

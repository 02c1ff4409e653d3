"""HTTP fetches that may be retried: which failures are worth it, and how long to wait."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event

from superres.errors import SuperresError, TransferError
from superres.redaction import SecretUrl
from superres.service.public_http import Client, Response, retry_after_seconds

_FIRST_SECONDS, _MAX_SECONDS = 1.0, 60.0
_MAX_REDIRECTS = 5
_RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class FetchError(SuperresError):
    """Something could not be fetched from its source.

    Attributes:
        retryable: whether another attempt may succeed.
        retry_after: seconds that the source asked to wait, if it did.
    """

    def __init__(self, message: str, *, retryable: bool, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after


@contextmanager
def response_to(client: Client, url: SecretUrl, seconds: float) -> Iterator[Response]:
    """The response to a GET, its body unread; raises ``FetchError`` unless its status is 200."""
    try:
        with client.request("GET", url, seconds=seconds, redirects=_MAX_REDIRECTS) as response:
            if response.status != 200:
                retry_after = response.headers.get("retry-after")
                raise error_of_status(response.url, response.status, retry_after)
            yield response
    except TransferError as error:
        raise FetchError(str(error), retryable=True) from None


def error_of_status(url: SecretUrl, status: int, retry_after: str | None) -> FetchError:
    """The error for an HTTP status other than 200."""
    return FetchError(
        f"{url}: the source answered {status}",
        retryable=status in _RETRYABLE_STATUS,
        retry_after=retry_after_seconds(retry_after, datetime.now(UTC)),
    )


def backoff_seconds(
    attempt: int, retry_after: float | None = None, jitter: float | None = None
) -> float:
    """Seconds to wait before attempt 2, 3, …: doubling, with jitter, at least ``retry_after``.

    ``jitter`` in [0, 1) replaces the random number. Never more than a minute: a server that asks
    for more is tried again, and refuses again, until the attempts are used up.
    """
    chance = random.random() if jitter is None else jitter
    backoff = _FIRST_SECONDS * 2.0 ** (attempt - 2) * (0.5 + chance)
    return min(_MAX_SECONDS, max(backoff, retry_after or 0.0))


def fetch_document(
    client: Client, url: SecretUrl, *, seconds: float, max_bytes: int, attempts: int, stop: Event
) -> bytes | None:
    """The body at a URL, in memory; None when ``stop`` was set while waiting to retry.

    Raises ``FetchError`` or ``ForbiddenUrlError``, each with one line: at once where a retry is
    pointless (404), else after so many attempts.
    """
    for attempt in range(1, attempts + 1):
        try:
            return _fetch_once(client, url, seconds, max_bytes)
        except FetchError as error:
            if not error.retryable:
                raise
            if attempt == attempts:
                tried = f"{error} (tried {attempts} times)"
                raise FetchError(tried, retryable=True, retry_after=error.retry_after) from None
            if stop.wait(backoff_seconds(attempt + 1, error.retry_after)):
                return None
    raise ValueError(f"attempts must be at least 1, not {attempts}")


def _fetch_once(client: Client, url: SecretUrl, seconds: float, max_bytes: int) -> bytes:
    body = bytearray()
    with response_to(client, url, seconds) as response:
        for chunk in response.chunks:
            body += chunk
            if len(body) > max_bytes:
                raise FetchError(f"{url}: more than {max_bytes:,} bytes", retryable=False)
    return bytes(body)

"""Asking a server for a small document, as often as its failures allow."""

from threading import Event

from ingestion.retries import FetchError, answer_of, wait_before
from superres.service.public_http import Client


def fetch_document(
    client: Client, url: str, *, seconds: float, most_bytes: int, attempts: int, stop: Event
) -> bytes | None:
    """The body behind a URL; None when ``stop`` was set while waiting for another attempt.

    Raises ``FetchError`` or ``ForbiddenUrlError``, each with one line: at once where trying again
    is of no use (404), else after so many attempts.
    """
    for attempt in range(1, attempts + 1):
        try:
            return _fetch_once(client, url, seconds, most_bytes)
        except FetchError as error:
            if not error.again:
                raise
            if attempt == attempts:
                tried = f"{error} (tried {attempts} times)"
                raise FetchError(tried, again=True, after=error.after) from None
            if stop.wait(wait_before(attempt + 1, error.after)):
                return None
    raise ValueError(f"at least one attempt is made, not {attempts}")


def _fetch_once(client: Client, url: str, seconds: float, most_bytes: int) -> bytes:
    body = bytearray()
    with answer_of(client, url, seconds) as answer:
        for chunk in answer.chunks:
            body += chunk
            if len(body) > most_bytes:
                raise FetchError(f"{url}: more than {most_bytes:,} bytes", again=False)
    return bytes(body)

"""When to try again: failures by kind, and how long to wait."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from superres.errors import SuperresError, TransferError
from superres.service.public_http import Answer, Client
from superres.service.retry_after import asked_seconds

_FIRST_SECONDS, _MOST_SECONDS = 1.0, 60.0
_REDIRECTS = 5
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})


class FetchError(SuperresError):
    """Something that could not be had from its source.

    Attributes:
        again: whether trying again may help.
        after: seconds that the source asked to wait, if it did.
    """

    def __init__(self, message: str, *, again: bool, after: float | None = None) -> None:
        super().__init__(message)
        self.again = again
        self.after = after


@contextmanager
def answer_of(client: Client, url: str, seconds: float) -> Iterator[Answer]:
    """The answer to a GET, its body unread; raises ``FetchError`` for all but a whole 200."""
    try:
        with client.request("GET", url, seconds=seconds, redirects=_REDIRECTS) as answer:
            if answer.status != 200:
                raise error_of_status(answer.url, answer.status, answer.headers.get("retry-after"))
            yield answer
    except TransferError as error:
        raise FetchError(str(error), again=True) from None


def error_of_status(url: str, status: int, retry_after: str | None) -> FetchError:
    """The failure that an HTTP status other than 200 stands for."""
    again = status in _LATER
    after = asked_seconds(retry_after, datetime.now(UTC))
    return FetchError(f"{url}: the source answered {status}", again=again, after=after)


def wait_before(attempt: int, after: float | None, spread: float | None = None) -> float:
    """Seconds to wait before attempt 2, 3, …: doubling, with jitter, at least what was asked for.

    ``spread`` on [0, 1) replaces the random number. Never more than a minute: whoever asks for more
    is tried again, and refused again, until the attempts are used up.
    """
    chance = random.random() if spread is None else spread
    backoff = _FIRST_SECONDS * 2.0 ** (attempt - 2) * (0.5 + chance)
    return min(_MOST_SECONDS, max(backoff, after or 0.0))

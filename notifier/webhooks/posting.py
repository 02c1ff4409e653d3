"""One attempt at a delivery: the signed POST of the Standard Webhooks specification."""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from notifier.store.deliveries import Claimed
from superres.errors import ForbiddenUrlError, SuperresError, TransferError
from superres.redaction import redacted_url
from superres.service.public_http import Client, Response

_READ_BYTES = 1 << 14  # of a response body, so that the connection can be reused
_MAX_REASON_LENGTH = 300


@dataclass(frozen=True)
class Attempt:
    """The outcome of an attempt.

    Attributes:
        status: of the response; None when there was none.
        error: why it failed; None for a success.
        retry_after: the header of the response.
        seconds: how long it took.
    """

    status: int | None
    error: str | None
    retry_after: str | None
    seconds: float


def post(client: Client, claimed: Claimed, seconds: float) -> Attempt:
    """Sends a delivery, with a timeout in seconds. Never raises.

    Any status from 200 to 299 is a success. A redirect is a failure, as specified; so is a private
    address, since its name may resolve to another one tomorrow.
    """
    now, began = datetime.now(UTC), monotonic()
    signature = Webhook(claimed.secret).sign(claimed.message_id, now, claimed.payload)
    headers = [
        ("Content-Type", "application/json"),
        ("webhook-id", claimed.message_id),
        ("webhook-timestamp", str(int(now.timestamp()))),
        ("webhook-signature", signature),
    ]
    content = claimed.payload.encode()
    status = error = retry_after = None
    try:
        with client.request(
            "POST", claimed.url, seconds=seconds, headers=headers, content=content
        ) as answer:
            status, retry_after = answer.status, answer.headers.get("retry-after")
            error = _error_of(status)
            _drain(answer)
    except (ForbiddenUrlError, TransferError) as failure:
        # The status decides, even if the body is cut off.
        if status is None:
            error = _reason(failure, claimed.url)
    return Attempt(status, error, retry_after, monotonic() - began)


def loggable_url(url: str) -> str:
    """Returns scheme and host of a URL: with many receivers its path is a secret, too."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _reason(failure: SuperresError, url: str) -> str:
    # The path may be a secret, and databases do not accept every control character.
    text = str(failure).replace(redacted_url(url), loggable_url(url))
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_MAX_REASON_LENGTH]


def _error_of(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    redirect = "; redirects are not followed" if 300 <= status < 400 else ""
    return f"the receiver answered {status}{redirect}"


def _drain(answer: Response) -> None:
    size = 0
    for chunk in answer.chunks:
        size += len(chunk)
        if size > _READ_BYTES:
            return

"""One attempt to deliver: the signed POST of the Standard Webhooks specification."""

from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from notifier.store.deliveries import Claimed
from superres.errors import ForbiddenUrlError, SuperresError, TransferError
from superres.service.public_http import Answer, Client

_READ_BYTES = 1 << 14  # of an answer's body, so that its connection can be used again
_REASON_LETTERS = 300


@dataclass(frozen=True)
class Attempt:
    """What came of it.

    Attributes:
        status: of the answer; None when there was none.
        error: why it failed; None: it is delivered.
        retry_after: the answer's header.
        seconds: how long it took.
    """

    status: int | None
    error: str | None
    retry_after: str | None
    seconds: float


def post(client: Client, claimed: Claimed, seconds: float) -> Attempt:
    """Sends a delivery, and waits at most so long for the answer. It raises nothing.

    Any status of 200 to 299 is a success. A redirect is a failure, as the specification has it; so
    is an address that the guard forbids, since its name may lead elsewhere tomorrow.
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
            error = _complaint(status)
            _drain(answer)
    except (ForbiddenUrlError, TransferError) as failure:
        # The status is what counts: a body that breaks off changes nothing.
        if status is None:
            error = _reason(failure, claimed.url)
    return Attempt(status, error, retry_after, monotonic() - began)


def told_url(url: str) -> str:
    """A URL as logs may hold it: its path, too, is a secret with many receivers."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _reason(failure: SuperresError, url: str) -> str:
    # A query may be a secret of the receiver's. No database takes every sign it may have sent.
    text = str(failure).replace(url, told_url(url))
    return "".join(sign if sign.isprintable() else " " for sign in text)[:_REASON_LETTERS]


def _complaint(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    redirect = "; redirects are not followed" if 300 <= status < 400 else ""
    return f"the receiver answered {status}{redirect}"


def _drain(answer: Answer) -> None:
    size = 0
    for chunk in answer.chunks:
        size += len(chunk)
        if size > _READ_BYTES:
            return

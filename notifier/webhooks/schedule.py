"""When a webhook is tried again, when it is given up, and when its subscription is disabled.

Attempts follow each other after 5 s, 20 s, 80 s and so on (``webhook_retry_seconds``, four times as
long each time, at most six hours), the last of them at the give-up time.
"""

from datetime import datetime, timedelta

from superres.service.retry_after import asked_seconds

_GROWTH = 4.0
_MOST_SECONDS = 6 * 3600.0
_GONE = 410


def backoff(failures: int, first_seconds: float, spread: float) -> float:
    """Seconds to wait after so many failures in a row (1 or more).

    ``spread`` on [0, 1) is a random number: receivers that came back are not met by all at once.
    """
    # So many failures are a wait of six hours whatever the first one was, and no overflow.
    growth = _GROWTH ** min(failures - 1, 100)
    return min(_MOST_SECONDS, first_seconds * growth) * (0.5 + spread / 2)


def next_attempt(
    failures: int,
    retry_after: str | None,
    give_up_at: datetime,
    now: datetime,
    first_seconds: float,
    spread: float,
) -> datetime | None:
    """When to try again after a failure; None: it is given up.

    A receiver that asks for more time than is left is tried once more at the give-up time.
    """
    left = (give_up_at - now).total_seconds()
    if left <= 0:
        return None
    asked = asked_seconds(retry_after, now) or 0.0
    wait = max(backoff(failures, first_seconds, spread), asked)
    return give_up_at if wait >= left else now + timedelta(seconds=wait)


def reason_to_disable(
    status: int | None, failing_since: datetime, now: datetime, days: float
) -> str | None:
    """Why a subscription gets nothing more after a failure, if so.

    ``failing_since`` is the first failure after the last success, ``days`` how long that may last.
    """
    if status == _GONE:
        return "the receiver answered 410 Gone"
    if now - failing_since >= timedelta(days=days):
        return f"every attempt has failed for {days:g} days"
    return None

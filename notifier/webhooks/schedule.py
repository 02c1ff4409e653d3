"""When a delivery is retried or given up, and when its subscription is disabled.

Retries follow after 5 s, 20 s, 80 s and so on (``webhook_retry_seconds``, then four times as long
each time, at most six hours), the last one at the give-up time.
"""

from datetime import datetime, timedelta

from superres.service.public_http import retry_after_seconds

_GROWTH = 4.0
_MAX_SECONDS = 6 * 3600.0
_GONE = 410


def backoff(failures: int, first_seconds: float, jitter: float) -> float:
    """Returns the seconds to wait after a number of consecutive failures (1 or more).

    ``jitter`` is a random number on [0, 1), so that retries to a receiver that recovers are spread.
    """
    # The exponent is bounded against overflow; the wait has long reached six hours.
    growth = _GROWTH ** min(failures - 1, 100)
    return min(_MAX_SECONDS, first_seconds * growth) * (0.5 + jitter / 2)


def next_attempt(
    failures: int,
    retry_after: str | None,
    give_up_at: datetime,
    now: datetime,
    first_seconds: float,
    jitter: float,
) -> datetime | None:
    """Returns when to retry after a failure; None to give up.

    If the receiver asks for more time than is left, the last attempt is at the give-up time.
    """
    left = (give_up_at - now).total_seconds()
    if left <= 0:
        return None
    asked = retry_after_seconds(retry_after, now) or 0.0
    wait = max(backoff(failures, first_seconds, jitter), asked)
    return give_up_at if wait >= left else now + timedelta(seconds=wait)


def reason_to_disable(
    status: int | None, failing_since: datetime, now: datetime, days: float
) -> str | None:
    """Returns why to disable a subscription after a failure; None if it stays enabled.

    ``failing_since`` is the first failure since the last success; it may last ``days``.
    """
    if status == _GONE:
        return "the receiver answered 410 Gone"
    if now - failing_since >= timedelta(days=days):
        return f"every attempt has failed for {days:g} days"
    return None

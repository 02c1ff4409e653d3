"""The header by which a server that is busy tells when to ask again."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def asked_seconds(retry_after: str | None, now: datetime) -> float | None:
    """What Retry-After (RFC 9110, 10.2.3: seconds, or a date) asks for, 0 or more.

    None without the header, and for nonsense. Decimals are taken: some servers send them.
    """
    text = (retry_after or "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is in UTC: HTTP knows no other.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - now).total_seconds())
    except (ValueError, OverflowError):  # no date, or one that no calendar has
        return None

from datetime import UTC, datetime

import pytest

from superres.service.retry_after import asked_seconds

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("120", 120),
        (" 7 ", 7),
        ("-5", None),
        ("soon", None),
        ("nan", None),
        ("9" * 5000, float("inf")),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60),
        ("Sat, 31 Jan 2026 12:01:00 -0000", 60),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("Sat, 31 Jan 99999 11:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999", None),
        ("0.5", 0.5),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert asked_seconds(header, NOW) == seconds

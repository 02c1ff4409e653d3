"""The schedule of webhooks: waits between attempts, giving up, disabling."""

from datetime import timedelta

from notifier.webhooks.schedule import backoff, next_attempt, reason_to_disable
from tests.support.webhooks import NOW


def test_waits_grow_fourfold_up_to_six_hours_with_jitter():
    longest = [backoff(failures, 5, 1.0) for failures in range(1, 12)]
    assert longest[:4] == [5, 20, 80, 320]
    assert longest[-1] == 6 * 3600
    assert [backoff(failures, 5, 0.0) for failures in range(1, 4)] == [2.5, 10, 40]
    assert backoff(100_000, 5, 1.0) == 6 * 3600


def test_a_day_of_failures_has_about_ten_attempts_and_ends_with_the_day():
    give_up_at, now, moments = NOW + timedelta(hours=24), NOW, []
    for failures in range(1, 100):
        due = next_attempt(failures, None, give_up_at, now, 5, 0.5)
        if due is None:
            break
        moments.append(due)
        now = due
    assert 8 <= len(moments) <= 14
    assert moments[-1] == give_up_at


def test_retry_after_is_respected_within_the_remaining_time():
    give_up_at = NOW + timedelta(hours=1)
    assert next_attempt(1, "600", give_up_at, NOW, 5, 0.5) == NOW + timedelta(seconds=600)
    assert next_attempt(1, "1", give_up_at, NOW, 5, 1.0) == NOW + timedelta(seconds=5)
    assert next_attempt(1, "9" * 400, give_up_at, NOW, 5, 0.5) == give_up_at
    assert next_attempt(1, "600", NOW, NOW, 5, 0.5) is None


def test_410_or_five_days_of_failures_disable():
    day = timedelta(days=1)
    assert "410" in (reason_to_disable(410, NOW, NOW, 5) or "")
    assert reason_to_disable(500, NOW - 4.9 * day, NOW, 5) is None
    assert "5 days" in (reason_to_disable(None, NOW - 5 * day, NOW, 5) or "")

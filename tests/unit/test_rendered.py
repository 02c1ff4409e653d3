"""The cache of rendered responses."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from notifier.web.rendered import Rendered


def test_a_response_is_cached_until_something_changes():
    made, rendered = iter(["one", "two", "three"]), Rendered()

    def get(tag: str, key: str) -> str:
        return rendered.get(tag, key, lambda: next(made))

    assert [get("1", "/"), get("1", "/"), get("1", "/x"), get("2", "/")] == [
        "one",
        "one",
        "two",
        "three",
    ]


def test_concurrent_requests_render_once():
    made, rendered, barrier = [], Rendered(), Barrier(8)

    def render() -> str:
        made.append("")
        return f"answer {len(made)}"

    def ask(_: int) -> str:
        barrier.wait()
        return rendered.get("1", "/", render)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"answer 1"}


def test_a_failed_rendering_is_tried_again():
    rendered = Rendered()
    with pytest.raises(ZeroDivisionError):
        rendered.get("1", "/", lambda: str(1 / 0))
    assert rendered.get("1", "/", lambda: "made") == "made"


def test_only_the_latest_responses_are_cached():
    rendered = Rendered()
    for number in range(1000):
        rendered.get("1", number, lambda: "old")
    assert rendered.get("1", 999, lambda: "new") == "old"
    assert rendered.get("1", 0, lambda: "new") == "new"

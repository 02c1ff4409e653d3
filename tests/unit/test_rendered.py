from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from notifier.web.rendered import Rendered


def test_an_answer_is_kept_until_something_changes():
    made, rendered = iter(["one", "two", "three"]), Rendered()

    def answer(tag: str, key: str) -> str:
        return rendered.answer(tag, key, lambda: next(made))

    assert [answer("1", "/"), answer("1", "/"), answer("1", "/x"), answer("2", "/")] == [
        "one",
        "one",
        "two",
        "three",
    ]


def test_many_who_ask_for_the_same_have_it_made_once():
    made, rendered, barrier = [], Rendered(), Barrier(8)

    def render() -> str:
        made.append("")
        return f"answer {len(made)}"

    def ask(_: int) -> str:
        barrier.wait()
        return rendered.answer("1", "/", render)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {"answer 1"}


def test_what_could_not_be_made_is_tried_again():
    rendered = Rendered()
    with pytest.raises(ZeroDivisionError):
        rendered.answer("1", "/", lambda: str(1 / 0))
    assert rendered.answer("1", "/", lambda: "made") == "made"


def test_only_the_latest_answers_are_kept():
    rendered = Rendered()
    for number in range(1000):
        rendered.answer("1", number, lambda: "old")
    assert rendered.answer("1", 999, lambda: "new") == "old"
    assert rendered.answer("1", 0, lambda: "new") == "new"

"""How many wrong tokens a service looks at."""

import pytest

from superres.service import guesses
from superres.service.guesses import (
    ALTOGETHER,
    PER_CLIENT,
    PER_TRUSTED_CLIENT,
    WINDOW_SECONDS,
    Guesses,
)
from superres.service.problems import Problem

RIGHT = "right-token-of-these-tests"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Tried:
    """Tries tokens: each is right, wrong or answered with a status."""

    def __init__(self, clock: Clock) -> None:
        self.guesses = Guesses(clock)

    def __call__(self, address: str, given: str) -> bool | int:
        try:
            return self.guesses.is_right(address, given, RIGHT, None)
        except Problem as problem:
            return problem.status


@pytest.fixture
def tried(clock: Clock) -> Tried:
    return Tried(clock)


def test_after_some_wrong_tokens_none_of_a_client_is_looked_at_for_a_while(tried, clock):
    assert [tried("8.8.8.8", f"guess {n}") for n in range(PER_CLIENT)] == [False] * PER_CLIENT
    assert tried("8.8.8.8", "another") == 429
    assert tried("8.8.8.8", RIGHT) == 429
    assert tried("::ffff:8.8.8.8", RIGHT) == 429
    clock.now += WINDOW_SECONDS
    assert tried("8.8.8.8", RIGHT) is True


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "8.8.8.8"])
def test_the_right_token_is_let_in_where_it_was_before_and_on_this_machine(tried, clock, address):
    if address == "8.8.8.8":
        assert tried(address, RIGHT) is True
    for window in range(3):
        for number in range(3 * ALTOGETHER):
            assert tried(address, f"guess {window} {number}") is False
        assert tried(address, RIGHT) is True
        clock.now += WINDOW_SECONDS
    # Guesses have a limit there, too.
    for number in range(PER_TRUSTED_CLIENT):
        assert tried(address, f"guess {number}") is False
    assert tried(address, RIGHT) == 429


def test_a_wrong_token_counts_once_however_often_and_from_wherever_it_comes(tried):
    for _ in range(3 * PER_CLIENT):
        assert tried("8.8.8.8", "the token of last year") is False
    assert tried("8.8.8.8", RIGHT) is True
    guesses_elsewhere = [tried("8.8.4.4", f"guess {number}") for number in range(PER_CLIENT)]
    assert guesses_elsewhere == [False] * PER_CLIENT
    # It is known to be wrong, so it needs no comparison.
    assert tried("8.8.4.4", "the token of last year") is False
    assert tried("8.8.4.4", RIGHT) == 429


def test_the_right_token_is_never_limited_by_guesses_from_elsewhere(tried):
    for client in range(ALTOGETHER):
        assert tried(f"2001:200:0:{client:x}::1", f"guess {client}") is False
    assert tried("8.8.8.8", RIGHT) is True
    # Altogether too many: a client has one guess from now on.
    assert tried("8.8.4.4", "another guess") is False
    assert tried("8.8.4.4", RIGHT) == 429
    assert tried("2001:200:0:1::2", "one more guess") == 429
    assert tried("8.8.8.8", RIGHT) is True


def test_the_right_token_and_none_are_no_guesses(tried):
    for _ in range(3 * PER_CLIENT):
        assert tried("8.8.8.8", RIGHT) is True
        assert tried("8.8.8.8", "") is False
    assert tried("8.8.8.8", "guess") is False


def test_a_network_of_ipv6_is_one_client(tried):
    for number in range(PER_CLIENT):
        assert tried(f"2001:200:1:2::{number:x}", f"guess {number}") is False
    assert tried("2001:200:1:2:ffff::", RIGHT) == 429
    assert tried("2001:200:1:3::", RIGHT) is True


def test_only_so_many_clients_and_tokens_are_remembered(tried, monkeypatch):
    monkeypatch.setattr(guesses, "_MAX_CLIENTS", 50)
    monkeypatch.setattr(guesses, "_MAX_TOKENS", 40)
    for number in range(200):
        tried(f"8.8.{number}.8", f"guess {number}")
        tried(f"8.9.{number}.8", RIGHT)
    assert len(tried.guesses._wrong) == len(tried.guesses._trusted) == 50
    assert len(tried.guesses._seen) == 40

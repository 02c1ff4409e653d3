"""The clock that ends a process whose step takes too long, with the kernel's timer recorded."""

import signal

import pytest

from jobs.clock import AlarmClock


@pytest.fixture
def timer(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each value that the timer was set to; 0 is off."""
    values: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: values.append(seconds))
    return values


def test_it_runs_during_a_step_only(timer: list[float]) -> None:
    clock = AlarmClock(9)
    with clock.computing("split"):
        assert timer == [9]
    assert timer == [9, 0]


def test_it_stands_still_while_a_step_waits(timer: list[float]) -> None:
    clock = AlarmClock(9)
    with clock.computing("split"), clock.waiting():
        assert timer == [9, 0]
    assert timer == [9, 0, 9, 0]


def test_each_item_is_a_step_and_the_caller_takes_its_time(timer: list[float]) -> None:
    clock = AlarmClock(9)
    for number in clock.each("infer", [1, 2]):
        assert timer == [9, 0] * number
    assert timer == [9, 0] * 3  # the third finds the end


def test_a_step_within_a_step_begins_and_then_the_outer_one_goes_on(timer: list[float]) -> None:
    stages: list[str] = []
    clock = AlarmClock(9, stages.append)
    with clock.computing("reconstruct"), clock.computing("infer"):
        pass
    assert stages == ["reconstruct", "infer", "reconstruct"]
    assert timer == [9, 9, 9, 0]


def test_waiting_for_items_costs_nothing_and_an_error_ends_the_step(timer: list[float]) -> None:
    clock = AlarmClock(9)
    assert list(clock.waiting_for([1])) == [1]
    assert set(timer) == {0}
    with pytest.raises(ValueError, match="broken"), clock.computing("split"):
        raise ValueError("broken")
    assert timer[-2:] == [9, 0]


def test_a_long_step_may_be_divided(timer: list[float]) -> None:
    clock = AlarmClock(9)
    with clock.computing("evaluate"):
        clock.restart()
    clock.restart()
    assert timer == [9, 9, 0, 0]

"""One isolated process of an executor has its last try alone."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from jobs import memory, tasks
from jobs.isolation import Bounds
from jobs.memory import MemoryLimit
from jobs.turns import is_someone_alone, turn


def test_turns_are_shared_unless_one_is_alone(tmp_path: Path) -> None:
    assert not is_someone_alone(tmp_path)
    with turn(tmp_path, alone=False), turn(tmp_path, alone=False):
        assert not is_someone_alone(tmp_path)
    with turn(tmp_path, alone=True):
        assert is_someone_alone(tmp_path)
    assert not is_someone_alone(tmp_path)


@pytest.mark.parametrize("others", [True, False])
def test_whoever_is_alone_begins_when_the_others_have_ended(tmp_path: Path, others: bool) -> None:
    events: list[str] = []

    def other() -> None:
        with turn(tmp_path, alone=others):
            events.append("the other one")

    with ThreadPoolExecutor(1) as threads:
        with turn(tmp_path, alone=not others):
            waiting = threads.submit(other)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
            events.append("this one")
        waiting.result()
    assert events == ["this one", "the other one"]


def test_a_first_attempt_gives_way_to_a_process_that_has_its_last_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Event()
    signals: list[tuple[int, int]] = []

    def end(*signalled: int) -> None:
        signals.append((signalled[0], signalled[1]))
        ended.set()

    monkeypatch.setenv("SPARK_LOCAL_DIRS", str(tmp_path))
    monkeypatch.setattr(tasks, "prefer_as_victim", lambda: None)
    monkeypatch.setattr(memory, "_executor_sizes", lambda: {os.getpid(): 40, 0: 70})
    monkeypatch.setattr(os, "kill", end)
    with tasks.watched(Bounds(60, MemoryLimit(100))):
        assert not ended.wait(0.6)  # the other one is the largest
        with turn(tmp_path, alone=True):
            assert ended.wait(30)
    assert set(signals) == {(os.getpid(), signal.SIGKILL)}

"""Working on items in a process of its own, which items may end."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import psutil
import pytest

from jobs import memory
from jobs.isolation import Bounds, Isolation, ItemLostError, isolation
from jobs.memory import MemoryLimit, available_bytes, resident_bytes
from superres.errors import PrerequisiteError, StorageError
from tests.support.example_work import ExampleWork

PLENTY = MemoryLimit(1 << 50)


@pytest.fixture
def process() -> Iterator[Isolation[str, str]]:
    with isolation(ExampleWork(), "split", Bounds(30, PLENTY)) as isolated:
        yield isolated


def worker_of(results: Iterable[str]) -> int:
    return int(list(results)[-1].rsplit(" ", 1)[1])


def test_one_process_works_on_all_items(process: Isolation[str, str]) -> None:
    first, second = list(process.results("one")), list(process.results("two"))
    assert first[0] == "begun one"
    assert worker_of(first) == worker_of(second)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("crash", "upscaling it ended the process with SIGSEGV (tried twice)"),
        ("exit", "upscaling it ended the process with exit code 7 (tried twice)"),
        ("memory-error", "upscaling it ran out of memory (tried twice)"),
        ("bug", "upscaling it failed with ValueError: two lines (tried twice)"),
        ("codec", "upscaling it failed with OSError: codec failed (tried twice)"),
        (
            "no-memory",
            "upscaling it failed with OSError: [Errno 12] Cannot allocate memory (tried twice)",
        ),
        (
            "killed",
            "upscaling it was ended with SIGKILL: most likely the machine ran out of memory "
            "(tried twice)",
        ),
    ],
)
def test_an_item_that_ends_the_process_twice_is_lost_and_the_next_is_done(
    process: Isolation[str, str], item: str, reason: str
) -> None:
    before = worker_of(process.results("before"))
    with pytest.raises(ItemLostError) as lost:
        process.results(item)
    assert (lost.value.stage, str(lost.value)) == ("infer", reason)
    after = list(process.results("after"))
    assert after[0] == "begun after"
    assert worker_of(after) != before


def test_an_item_that_ends_it_once_is_done(process: Isolation[str, str], tmp_path: Path) -> None:
    item = f"crash-once {tmp_path / 'crashed'}"
    assert next(process.results(item)) == f"begun {item}"
    assert (tmp_path / "crashed").exists()


def test_a_step_that_never_ends_is_ended() -> None:
    with (
        isolation(ExampleWork(), "split", Bounds(0.2, PLENTY)) as process,
        pytest.raises(ItemLostError) as lost,
    ):
        process.results("never-end")
    assert str(lost.value) == (
        "upscaling it took longer than 0.2 s (processing.stall_seconds) (tried twice)"
    )


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is watched where there is /proc")
def test_the_process_with_most_memory_is_ended_when_there_is_too_little() -> None:
    with (
        isolation(ExampleWork(), "split", Bounds(60, MemoryLimit(1 << 28))) as process,
        pytest.raises(ItemLostError, match=r"upscaling it needed [\d,]+ MiB, more than there is"),
    ):
        process.results("eat")


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is watched where there is /proc")
def test_the_memory_of_a_process_that_always_has_something_to_say_is_watched() -> None:
    with (
        isolation(ExampleWork(), "split", Bounds(60, MemoryLimit(1 << 28))) as process,
        pytest.raises(ItemLostError, match=r"needed [\d,]+ MiB, more than there is"),
    ):
        process.results("eat-and-talk")


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is watched where there is /proc")
def test_an_item_is_not_lost_for_the_memory_of_its_neighbour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = psutil.Process()  # of the whole executor, only what this test has started
    monkeypatch.setattr(
        memory, "_executor_sizes", lambda: {p.pid: resident_bytes(p.pid) for p in this.children()}
    )
    bounds = Bounds(60, MemoryLimit(450 << 20))
    with (
        isolation(ExampleWork(), "split", bounds) as ours,
        isolation(ExampleWork(), "split", bounds) as others,
        ThreadPoolExecutor(2) as threads,
    ):
        large = threads.submit(ours.results, f"large {tmp_path}")
        while not (tmp_path / "first").exists():
            wait([large], timeout=0.05)
        neighbour = threads.submit(others.results, f"neighbour {tmp_path}")
        assert worker_of(large.result()) != int((tmp_path / "first").read_text())
        assert next(neighbour.result()) == f"begun neighbour {tmp_path}"


def test_storage_that_fails_is_no_fault_of_the_item(process: Isolation[str, str]) -> None:
    worker = worker_of(process.results("before"))
    with pytest.raises(StorageError, match="s3://bucket/key: cannot read"):
        process.results("storage")
    assert worker_of(process.results("after")) == worker


def test_a_full_disk_is_no_fault_of_the_item(process: Isolation[str, str]) -> None:
    with pytest.raises(OSError, match="No space left"):
        process.results("full-disk")


@pytest.mark.skipif(not Path("/proc").exists(), reason="memory is read from /proc")
def test_results_wait_in_a_file_and_not_in_the_memory_of_the_worker(
    process: Isolation[str, str],
) -> None:
    before = resident_bytes(os.getpid())
    results = process.results("talk 64")
    assert resident_bytes(os.getpid()) - before < 100 << 20
    assert sum(map(len, results)) > 256 << 20


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("bug", "it failed with ValueError: two lines"),
        ("crash", "starting it ended the process with SIGSEGV"),
    ],
)
def test_what_fails_before_there_is_an_item_is_no_fault_of_the_item(
    start: str, reason: str
) -> None:
    with (
        isolation(ExampleWork(start), "split", Bounds(30, PLENTY)) as process,
        pytest.raises(PrerequisiteError, match=reason),
    ):
        process.results("one")


def test_the_process_and_its_files_go_with_the_block() -> None:
    with isolation(ExampleWork(), "split", Bounds(30, PLENTY)) as process:
        worker = worker_of(process.results("one"))
        assert process.folder.is_dir()
    assert not process.folder.exists()
    assert resident_bytes(worker) == 0


def test_the_machine_has_some_memory() -> None:
    assert 1 << 26 < available_bytes() < 1 << 50

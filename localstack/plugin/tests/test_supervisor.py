"""Processes end with all that they started, on request and when their parent is killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from localstack_emr_msk.emr.processes import Process
from localstack_emr_msk.node import supervisor

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")


def until(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begin(folder: Path, script: str, seconds: float = 5) -> Process:
    return Process(
        ["bash", "-c", script],
        environment={"PATH": os.environ["PATH"]},
        folder=folder,
        stdout=folder / "out",
        stderr=folder / "err",
        stop_seconds=seconds,
    )


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def number(file: Path) -> str:
    until(lambda: file.exists() and file.read_text().endswith("\n"))
    return file.read_text().split()[-1]


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("true", 0), ("kill -9 $$", 137)])
def test_the_exit_status_is_that_of_the_command(tmp_path: Path, script: str, code: int) -> None:
    assert begin(tmp_path, f"echo output; echo error >&2; {script}").wait(20) == code
    assert (tmp_path / "out").read_text() == "output\n"
    assert (tmp_path / "err").read_text() == "error\n"


def test_a_missing_command_is_reported(tmp_path: Path) -> None:
    process = Process(
        [str(tmp_path / "none")],
        environment={},
        folder=tmp_path,
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
        stop_seconds=1,
    )
    assert process.wait(20) == 127
    assert "none: No such file" in (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    "script",
    [
        # Its own group, as of Spark's Python workers, and a session without a parent.
        "set -m; sleep 300 & echo $!; sleep 300",
        "(setsid sh -c 'echo $$; exec sleep 300' &); sleep 300",
    ],
)
def test_stop_ends_children_that_left_their_group(tmp_path: Path, script: str) -> None:
    process = begin(tmp_path, script)
    child = number(tmp_path / "out")
    assert process.running
    process.stop()
    process.stop()
    assert process.wait(20) != 0
    assert not alive(child)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    process = begin(tmp_path, "trap '' TERM; echo $$; while :; do sleep 0.1; done", seconds=0.3)
    pid = number(tmp_path / "out")
    process.stop()
    assert process.wait(20) == 137
    assert not alive(pid)


def test_processes_left_by_a_command_are_ended(tmp_path: Path) -> None:
    process = begin(tmp_path, "sleep 300 & echo $!")
    child = number(tmp_path / "out")
    assert process.wait(20) == 0
    assert not alive(child)


def test_no_process_outlives_a_killed_parent(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-I",
        "-S",
        supervisor.__file__,
        "1",
        "bash",
        "-c",
        "echo $$; sleep 300",
    ]
    program = (
        "import subprocess, sys, time; "
        f"subprocess.Popen({command!r}, stdin=subprocess.PIPE, start_new_session=True); "
        "time.sleep(300)"
    )
    with (tmp_path / "out").open("wb") as out:
        parent = subprocess.Popen([sys.executable, "-c", program], stdout=out)
    child = number(tmp_path / "out")
    parent.kill()
    parent.wait()
    until(lambda: not alive(child))

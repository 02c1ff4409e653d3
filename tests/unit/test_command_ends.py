"""How commands end: by signals, with a full disk, and what killed ones have left behind."""

import fcntl
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from ingestion.cli.shared import StopSignal
from superres.cli.main import execute
from superres.imaging.names import HIDDEN
from superres.imaging.png import encode_png_bytes
from tests.support.commands import files, make, pixels, upscaled
from tests.support.http_server import until
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import SUPERRES

pytestmark = pytest.mark.usefixtures("folder")

FILE_BYTES = 100_000


def left_over(path: str = ".") -> list[str]:
    names = (path.name for path in Path(path).iterdir())
    return [name for name in names if name.startswith(HIDDEN) and "lock" not in name]


def large(name: str) -> Path:
    """An image whose upscaling takes seconds."""
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode_png_bytes(np.zeros((1, 4000, 4000), np.uint8)))
    return path


def upscaling(*arguments: str) -> "subprocess.Popen[str]":
    """A command that has begun to write its result."""
    command = [str(SUPERRES), "upscale", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until(lambda: bool(left_over()), PATIENCE)
    return process


def superres(
    *arguments: str, file_bytes: int = resource.RLIM_INFINITY, stdout: IO[str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs a command that may write files of so many bytes."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))

    return subprocess.run(
        [str(SUPERRES), *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=240,
        preexec_fn=limit,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_command_with_one_line_and_nothing_half_written(number, code):
    large("big.png")
    process = upscaling("big.png")
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors.strip()) == (code, "superres: stopped")
    assert files() == ["big.png"]
    assert left_over() == []


@pytest.mark.slow
def test_a_hang_up_ends_nothing_that_ignores_it():
    def ignoring() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    make("a.png", 600, 600)
    process = subprocess.Popen([str(SUPERRES), "upscale", "a.png"], preexec_fn=ignoring)
    until(lambda: bool(left_over()) or process.poll() is not None, PATIENCE)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE) == 0
    assert files() == ["a.png", "a_x2.png"]


@pytest.mark.slow
def test_the_next_command_clears_what_a_killed_one_has_left_and_nothing_of_a_living_one():
    large("big.png")
    killed = upscaling("big.png")
    killed.kill()
    killed.communicate()
    abandoned = left_over()
    assert len(abandoned) == 1
    make("a.png")
    living = Path(".superres-0123456789abcdef.work")
    living.mkdir()
    lock = os.open(living, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert execute(["upscale", "a.png"]) == 0
    assert left_over() == [living.name]
    os.close(lock)


def test_unfinished_files_are_cleared_once_they_are_old():
    make("a.png")
    old, new, other = (
        Path(name)
        for name in (
            ".superres-0123456789abcdef.part",
            ".superres-fedcba9876543210.part",
            ".superres-results.part",
        )
    )
    for path in (old, new, other):
        path.touch()
    os.utime(old, (1, 1))
    os.utime(other, (1, 1))
    assert execute(["upscale", "a.png"]) == 0
    assert sorted(left_over()) == sorted([new.name, other.name])


@pytest.mark.slow
def test_a_result_that_does_not_fit_is_named_and_removed_and_the_rest_is_done():
    small = make("in/b.png")
    for name in ("a", "c"):
        path = Path(f"in/{name}.png")
        path.write_bytes(encode_png_bytes(noise((3, 300, 300))))
    done = superres("upscale", "in", "--output", "out", file_bytes=FILE_BYTES)
    assert done.returncode == 3
    lines = done.stderr.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines[:2]] == [
        "in/a.png",
        "in/c.png",
    ]
    assert all("cannot write to out: File too large; raise the limit" in line for line in lines[:2])
    assert len(lines) == 3
    assert files("out") == ["b_x2.png"]
    assert left_over("out") == []
    np.testing.assert_array_equal(pixels("out/b_x2.png"), upscaled(small, 2))
    nothing = superres("upscale", "in/a.png", "--output", "out", file_bytes=FILE_BYTES)
    assert nothing.returncode == 1


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "target"),
    [
        (["compare", "a.png", "--output", "page.html"], "page.html"),
        (["export", "--output", "network.onnx"], "network.onnx"),
    ],
)
def test_other_commands_name_the_file_that_does_not_fit(arguments, target):
    Path("a.png").write_bytes(encode_png_bytes(noise((3, 200, 200))))
    done = superres(*arguments, file_bytes=10_000)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"superres: {target}: cannot write: File too large; raise")
    assert sorted(path.name for path in Path().iterdir()) == ["a.png"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("arguments", [["upscale", "a.png"], ["estimate", "--help"]])
def test_a_full_standard_output_is_named(arguments: list[str]):
    make("a.png")
    with Path("/dev/full").open("w") as full:
        done = superres(*arguments, stdout=full)
    assert done.returncode == 1
    assert "superres: standard output: No space left on device; free" in done.stderr
    assert "Traceback" not in done.stderr


def test_training_leaves_no_half_written_checkpoint():
    pytest.importorskip("torch")
    Path("data").mkdir()
    for number in range(3):
        make(f"data/{number}.png", 90, 90, seed=number)
    command = ["train", "--data", "data", "--output", "out", "--iterations", "1", "--batch", "1"]
    done = superres(*command, file_bytes=4_000)
    assert done.returncode == 1
    assert "superres: out/checkpoint_x2.pt: cannot write: File too large; raise" in done.stderr
    assert list(Path("out").iterdir()) == []


def test_a_stop_of_ingestion_has_the_exit_code_of_its_signal():
    stop = StopSignal()
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop.receive(signal.SIGTERM, None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (stop.is_set(), stop.exit_code) == (True, 143)

"""Work for tests of what works on items in a process of its own."""

import ctypes
import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jobs.clock import Clock
from superres.errors import StorageError


@dataclass(frozen=True)
class ExampleWork:
    """Does what the item says; ``start`` is done before there is one."""

    start: str = ""

    def prepare(self) -> None:
        do(self.start)

    def results(self, item: str, clock: Clock) -> Iterator[str]:
        yield f"begun {item}"
        with clock.computing("infer"):
            do(item)
        if item == "eat-and-talk":
            yield from eat_and_talk()
        if item.startswith("talk"):
            yield from talk(int(item.partition(" ")[2]))
        yield f"{item} by {os.getpid()}"


def talk(parts: int) -> Iterator[str]:
    """Many results, without a pause, of 4 MiB each."""
    for _ in range(parts):
        yield "x" * (4 << 20)


def eat_and_talk() -> Iterator[str]:
    """Always has something to say while its memory grows."""
    eaten = []
    for _ in range(1024):
        eaten.append(b"\1" * (2 << 20))
        yield from ["more"] * 1000
    raise AssertionError(f"nothing has ended this process with {len(eaten)} parts")


def large(folder: Path) -> None:
    """Holds 300 MiB; the first time until it is ended."""
    first, eaten = folder / "first", b"\1" * (300 << 20)
    if not first.exists():
        first.write_text(str(os.getpid()))
        time.sleep(120)
        raise AssertionError(f"nothing has ended this process with {len(eaten)} bytes")


def neighbour(folder: Path) -> None:
    """Holds 150 MiB until the large one has been ended, and long enough for it to come back."""
    first, eaten = int((folder / "first").read_text()), b"\1" * (150 << 20)
    with suppress(ProcessLookupError):
        while True:
            os.kill(first, 0)
            time.sleep(0.02)
    time.sleep(2)
    assert eaten


def do(what: str) -> None:
    """Nothing, or something that ends the process."""
    name, _, argument = what.partition(" ")
    match name:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "crash-once":
            if not Path(argument).exists():
                Path(argument).touch()
                os.kill(os.getpid(), signal.SIGSEGV)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "never-end":
            ctypes.PyDLL(None).pause()  # in a library that holds Python's lock
        case "eat":
            eaten = [b"\1" * (64 << 20) for _ in range(48)]
            raise AssertionError(f"nothing has ended this process with {len(eaten)} parts")
        case "memory-error":
            raise MemoryError
        case "bug":
            raise ValueError("two\nlines")
        case "large":
            large(Path(argument))
        case "neighbour":
            neighbour(Path(argument))
        case "codec":
            raise OSError("codec failed")
        case "no-memory":
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        case "full-disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "storage":
            raise StorageError("s3://bucket/key: cannot read")

"""Work for tests of what works on items in a process of its own."""

import ctypes
import errno
import os
import signal
import time
from collections.abc import Iterator
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
        if item.startswith("talk"):
            yield from talk(int(item.partition(" ")[2]))
        yield f"{item} by {os.getpid()}"


def talk(parts: int) -> Iterator[str]:
    """Many results, without a pause, of 4 MiB each."""
    for _ in range(parts):
        yield "x" * (4 << 20)


def hold(mib: int, folder: Path) -> None:
    """Holds memory once another process does too, unless that one does not come within a second."""
    mine = folder / f"{mib}-{os.getpid()}"
    eaten = b"\1" * (mib << 20)
    mine.touch()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        time.sleep(0.02)
    assert len(eaten) == mib << 20


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
        case "codec":
            raise OSError("codec failed")
        case "no-memory":
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        case "full-disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case "storage":
            raise StorageError("s3://bucket/key: cannot read")

"""Work for tests of what works on items in a process of its own."""

import ctypes
import os
import signal
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
        yield f"{item} by {os.getpid()}"


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
        case "storage":
            raise StorageError("s3://bucket/key: cannot read")

"""Works on each item in a process of its own making, so that an item can end only that.

A task of Spark's that has failed is tried again, and then it works this way: what ends the process
is tried once more, and then given up, while the task goes on with the next item.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jobs.isolated_process import Failed, Finished, Result, Setup, Step, Unexpected
from jobs.memory import MIB, MemoryLimit, resident_bytes
from superres.errors import PrerequisiteError
from superres.pipeline.records import Stage

if TYPE_CHECKING:
    from jobs.works import Work

Item = TypeVar("Item")
Value = TypeVar("Value")

_TRIES = 2
_SECONDS_BETWEEN_LOOKS = 0.1  # at the process's memory
_VERBS: dict[Stage, str] = {
    "split": "decoding it",
    "infer": "upscaling it",
    "reconstruct": "writing its result",
    "evaluate": "measuring it",
}


@dataclass(frozen=True)
class Bounds:
    """What one item may cost: seconds for a step, and memory."""

    stall_seconds: float
    memory: MemoryLimit


class ItemLostError(Exception):
    """Working on an item has ended the process each time; the message is the reason."""

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


class Isolation(Generic[Item, Value]):
    """A process that works on one item at a time, replaced when it ends.

    ``folder`` is for temporary files; what the process leaves in its own there is deleted.
    """

    def __init__(self, work: "Work[Item, Value]", first: Stage, bounds: Bounds) -> None:
        self._work, self._first, self._bounds = work, first, bounds
        self._process: _Process | None = None
        # Spark deletes its own folders also when this process is killed.
        parent = os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None
        self.folder = Path(tempfile.mkdtemp(prefix="superres-", dir=parent))

    def results(self, item: Item) -> list[Value]:
        """All that comes of the item: everything or nothing.

        Raises ``ItemLostError`` when the process ends twice, what storage raises, and
        ``PrerequisiteError`` when the process ends before it gets an item.
        """
        for attempt in range(1, _TRIES + 1):
            self._process = self._process or _Process(
                Setup(self._work, self._bounds.stall_seconds), self._bounds, self.folder
            )
            try:
                return self._process.results(item, self._first)
            except ItemLostError as lost:
                self._end_process()
                if attempt == _TRIES:
                    raise ItemLostError(lost.stage, f"{lost} (tried twice)") from None
        raise AssertionError

    def close(self) -> None:
        """Ends the process and deletes its files."""
        self._end_process()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_process(self) -> None:
        if self._process is not None:
            self._process.end()
            self._process = None


@contextmanager
def isolation(
    work: "Work[Item, Value]", first: Stage, bounds: Bounds
) -> Iterator[Isolation[Item, Value]]:
    """An ``Isolation`` for a block; ``first`` is the stage that an item begins with."""
    isolated = Isolation(work, first, bounds)
    try:
        yield isolated
    finally:
        isolated.close()


class _Process:
    """The other end of ``jobs.isolated_process``."""

    def __init__(self, setup: Setup, bounds: Bounds, folder: Path) -> None:
        self._bounds = bounds
        self._stage: Stage | None = None
        ours, theirs = socket.socketpair()
        self._connection: Connection[Any, Any] = Connection(ours.detach())
        self._temporary = Path(tempfile.mkdtemp(dir=folder))
        with theirs:
            self._process = subprocess.Popen(
                # Without the working directory in the path; the worker's path may be in archives.
                [sys.executable, "-P", "-m", "jobs.isolated_process", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ
                | {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(self._temporary)},
            )
        self._send(setup)
        self._await_ready()

    def results(self, item: Any, first: Stage) -> list[Any]:
        """All that comes of the item; raises ``ItemLostError`` when the process ends."""
        self._stage = first
        self._send(item)
        results = []
        while True:
            message = self._received()
            match message:
                case Result(value):
                    results.append(value)
                case Step(stage):
                    self._stage = stage
                case Finished():
                    return results
                case Failed(error):
                    raise error
                case Unexpected(what):
                    raise self._lost(what)

    def end(self) -> None:
        """Kills the process, if it is still there, and deletes its temporary files."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _send(self, content: Any) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: see _received
            self._connection.send(content)

    def _await_ready(self) -> None:
        try:
            message = self._received()
            failure = f"it {message.what}" if isinstance(message, Unexpected) else None
        except ItemLostError as lost:
            failure = str(lost)
        if failure is not None:
            self.end()
            raise PrerequisiteError(f"a process for one image at a time: {failure}")

    def _received(self) -> Any:
        """The next message; raises ``ItemLostError`` when the process ends or grows too large."""
        while not self._connection.poll(_SECONDS_BETWEEN_LOOKS):
            if self._bounds.memory.is_exceeded_by(self._process.pid):
                size = resident_bytes(self._process.pid)
                raise self._lost(
                    f"needed {size // MIB:,} MiB, more than there is: all tasks of an executor "
                    f"have {self._bounds.memory.size // MIB:,} MiB (processing.memory_mib)"
                )
        with suppress(EOFError, OSError):
            return self._connection.recv()
        raise self._lost(self._how_it_ended())

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code == -signal.SIGALRM:
            seconds = self._bounds.stall_seconds
            return f"took longer than {seconds:g} s (processing.stall_seconds)"
        if code == -signal.SIGKILL:
            return "was ended with SIGKILL: most likely the machine ran out of memory"
        if code < 0:
            return f"ended the process with {signal.Signals(-code).name}"
        return f"ended the process with exit code {code}"

    def _lost(self, what: str) -> ItemLostError:
        if self._stage is None:  # not an item's fault
            return ItemLostError("split", f"starting it {what}")
        return ItemLostError(self._stage, f"{_VERBS[self._stage]} {what}")

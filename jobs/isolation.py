"""Works on each item in a process of its own making, so that an item can end only that.

A task of Spark's that has failed is tried again, and then it works this way: what ends the process
is tried once more, alone, and then given up, while the task goes on with the next item.
"""

import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar

from jobs.isolated_process import Failed, Finished, Result, Setup, Step, Unexpected
from jobs.memory import MIB, MemoryLimit, resident_bytes
from jobs.turns import executor_folder, turn
from superres.errors import PrerequisiteError
from superres.pipeline.records import Stage

if TYPE_CHECKING:
    from jobs.works import Work

Item = TypeVar("Item")
Value = TypeVar("Value")

_TRIES = 2
_SECONDS_BETWEEN_LOOKS = 0.1  # at the process's memory
_BYTES_IN_MEMORY = 1 << 20  # of results; more are in a file
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
        self._executor = executor_folder()
        self.folder = Path(tempfile.mkdtemp(prefix="superres-", dir=self._executor))

    def results(self, item: Item) -> Iterator[Value]:
        """All that comes of the item, which has been worked on when this returns, or nothing.

        Raises ``ItemLostError`` when the process ends twice, what storage raises, and
        ``PrerequisiteError`` when the process ends before it gets an item. No other isolated
        process of the executor works during the last try, so what ends that one is the item.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                return _replayed(self._tried(item, alone=attempt == _TRIES))
            except ItemLostError as lost:
                if attempt == _TRIES:
                    raise ItemLostError(lost.stage, f"{lost} (tried twice)") from None
        raise AssertionError

    def _tried(self, item: Item, *, alone: bool) -> IO[bytes]:
        """A file of ``Result`` pickles, of one try."""
        with turn(self._executor, alone=alone), ExitStack() as until_done:
            self._process = self._process or _Process(
                Setup(self._work, self._bounds.stall_seconds), self._bounds, self.folder
            )
            results: IO[bytes] = until_done.enter_context(
                tempfile.SpooledTemporaryFile(_BYTES_IN_MEMORY, dir=str(self.folder))
            )
            try:
                self._process.work_on(item, self._first, results, alone=alone)
            except ItemLostError:
                self._end_process()
                raise
            until_done.pop_all()  # whoever reads them closes the file
            return results

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


def _replayed(results: IO[bytes]) -> Iterator[Any]:
    with results:
        results.seek(0)
        while True:
            try:
                result: Result = pickle.load(results)
            except EOFError:
                return
            yield result.value


class _Process:
    """The other end of ``jobs.isolated_process``."""

    def __init__(self, setup: Setup, bounds: Bounds, folder: Path) -> None:
        self._bounds = bounds
        self._is_alone = True  # what others have ends none before its first item
        self._next_look = 0.0  # at its memory, on the monotonic clock
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

    def work_on(self, item: Any, first: Stage, results: IO[bytes], *, alone: bool) -> None:
        """Writes all that comes of the item; raises ``ItemLostError`` when the process ends.

        ``alone``: it may have all memory that there is.
        """
        self._stage, self._is_alone = first, alone
        self._send(item)
        while True:
            content = self._received()
            match pickle.loads(content):
                case Result():
                    results.write(content)
                case Step(stage):
                    self._stage = stage
                case Finished():
                    return
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
            message = pickle.loads(self._received())
            failure = f"it {message.what}" if isinstance(message, Unexpected) else None
        except ItemLostError as lost:
            failure = str(lost)
        if failure is not None:
            self.end()
            raise PrerequisiteError(f"a process for one image at a time: {failure}")

    def _received(self) -> bytes:
        """The next message; raises ``ItemLostError`` when the process ends or grows too large."""
        while not self._connection.poll(max(0.0, self._next_look - time.monotonic())):
            self._look_at_memory()
        if time.monotonic() >= self._next_look:  # however much it has to say
            self._look_at_memory()
        with suppress(EOFError, OSError):
            return self._connection.recv_bytes()
        raise self._lost(self._how_it_ended())

    def _look_at_memory(self) -> None:
        self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        memory, pid = self._bounds.memory, self._process.pid
        size = resident_bytes(pid)
        if memory.is_exceeded_by_alone(pid) if self._is_alone else memory.is_exceeded_by(pid):
            raise self._lost(
                f"needed {size // MIB:,} MiB, more than there is: all tasks of an executor "
                f"have {memory.size // MIB:,} MiB (processing.memory_mib)"
            )

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

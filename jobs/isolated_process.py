"""The process that works on one item after another for a Python worker of Spark.

``python -m jobs.isolated_process FD``: ``FD`` is a socket to the worker, which sends a ``Setup``
and then items. The process ends with the worker, and by itself after what it did not expect, so
that each try begins in a fresh one.
"""

import ctypes
import errno
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from jobs.clock import AlarmClock
from jobs.memory import prefer_as_victim
from superres.errors import ImageRejectedError, SuperresError
from superres.pipeline.records import Stage

if TYPE_CHECKING:
    from jobs.works import Work  # with all that any job imports; the setup brings what is needed

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MACHINE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE}


@dataclass(frozen=True)
class Setup:
    """What the worker sends first."""

    work: "Work[Any, Any]"
    stall_seconds: float


@dataclass(frozen=True)
class Ready:
    """It is prepared: what ends it from now on is an item."""


@dataclass(frozen=True)
class Step:
    """A step of this stage begins, or goes on."""

    stage: Stage


@dataclass(frozen=True)
class Result:
    """One of the results of the item."""

    value: Any


@dataclass(frozen=True)
class Finished:
    """These were all results of the item."""


@dataclass(frozen=True)
class Failed:
    """Storage or the machine failed, and not the item."""

    error: Exception


@dataclass(frozen=True)
class Unexpected:
    """The item raised what no code expected, or memory is short; the process ends."""

    what: str


def main(descriptor: int) -> None:
    """Works until the worker closes the socket."""
    _end_with_parent()
    prefer_as_victim()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with Connection(descriptor) as connection, suppress(EOFError, BrokenPipeError):
        setup: Setup = connection.recv()
        try:
            setup.work.prepare()
        except Exception as error:
            connection.send(Unexpected(f"failed with {_line(error)}"))
            return
        connection.send(Ready())
        clock = AlarmClock(setup.stall_seconds, lambda stage: connection.send(Step(stage)))
        while _work_on(connection.recv(), setup.work, clock, connection):
            pass


def _work_on(
    item: Any, work: "Work[Any, Any]", clock: AlarmClock, connection: "Connection[Any, Any]"
) -> bool:
    """Sends what comes of the item; False when the process cannot be trusted after it."""
    try:
        for result in work.results(item, clock):
            connection.send(Result(result))
        connection.send(Finished())
    except MemoryError:
        connection.send(Unexpected("ran out of memory"))
        return False
    except Exception as error:
        if _is_machines_fault(error):
            connection.send(Failed(error))
            return True
        connection.send(Unexpected(f"failed with {_line(error)}"))
        return False
    return True


def _is_machines_fault(error: Exception) -> bool:
    """Whether another item would meet it too; a decoder's ``OSError`` is the item's fault."""
    if isinstance(error, OSError):
        return error.errno in _MACHINE_ERRORS
    return isinstance(error, SuperresError) and not isinstance(error, ImageRejectedError)


def _line(error: Exception) -> str:
    """What was raised, as in the last line of a traceback."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == 1:  # it has ended already
            sys.exit()


if __name__ == "__main__":
    # The classes of this module as others import them, or pickles would name __main__.
    from jobs import isolated_process

    isolated_process.main(int(sys.argv[1]))

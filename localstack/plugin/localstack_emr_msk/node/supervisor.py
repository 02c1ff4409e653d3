"""Runs a command and sees to its end: ``supervisor.py SECONDS COMMAND [ARGUMENT …]``.

Standard input is a pipe that LocalStack holds. When it closes, be it that the command is to stop or
that LocalStack was killed, all that the command started is told to end, and killed after SECONDS.
What is left when the command itself ends goes the same way. Exits with the command's status.

On Linux nothing escapes, whatever group or session it makes for itself (Spark's Python workers do):
a process whose parent ends becomes a child of this one. Elsewhere the command's group must do.
Needs nothing but the standard library, and is quick to start.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_PROCESSES = Path("/proc")
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, see prctl(2)


def descendants(root: int) -> list[int]:
    """The processes below one that are alive."""
    children: dict[int, list[int]] = {}
    alive = set()
    for name in os.listdir(_PROCESSES):  # noqa: PTH208 - names are all that is wanted
        if name.isdecimal():
            with suppress(OSError):
                # After the command's name, which may hold anything: state, parent.
                fields = (_PROCESSES / name / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(name))
                if fields[0] not in "ZX":
                    alive.add(int(name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += [each for each in below if each in alive]
        waiting += below
    return found


def tell(child: int, number: int) -> bool:
    """Sends a signal to all there is (0: none); tells whether there is anyone."""
    if not _PROCESSES.is_dir():
        with suppress(OSError):
            os.killpg(child, number)
            return True
        return False
    found = descendants(os.getpid())
    for process in found:
        with suppress(OSError):
            os.kill(process, number)
    return bool(found)


def end(child: int, seconds: float) -> None:
    """Ends all there is: asks, waits, then kills until none is left."""
    deadline = time.monotonic() + seconds
    there = tell(child, signal.SIGTERM)
    while there and time.monotonic() < deadline:
        time.sleep(0.05)
        there = tell(child, 0)
    while there and time.monotonic() < deadline + 10:
        there = tell(child, signal.SIGKILL)
        time.sleep(0.05)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status, as a shell would tell it."""
    seconds, command = float(arguments[0]), arguments[1:]
    if _PROCESSES.is_dir():
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127

    def watch() -> None:
        os.read(0, 1)  # not sys.stdin: its lock would be held when this process ends
        end(child.pid, seconds)

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    end(child.pid, seconds)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Runs a command and ends all that it started: ``supervisor.py SECONDS COMMAND [ARGUMENT …]``.

Standard input is a pipe from LocalStack. When it closes, because the command must stop or because
LocalStack was killed, all processes that the command started get SIGTERM, and SIGKILL after
SECONDS. So do processes that remain when the command itself ends. Exits with the command's status.

On Linux no process escapes, even one in its own group or session (as Spark's Python workers are): a
process whose parent ends becomes a child of this one. Elsewhere only the command's group is ended.
Uses only the standard library, to start fast.
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
    """Returns the live descendants of a process."""
    children: dict[int, list[int]] = {}
    alive = set()
    for name in os.listdir(_PROCESSES):  # noqa: PTH208 - only names are needed
        if name.isdecimal():
            with suppress(OSError):
                # State and parent follow the command's name, which may contain anything.
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


def send_signal(child: int, number: int) -> bool:
    """Sends a signal (0: none) to all processes; returns whether there are any."""
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
    """Ends all processes: SIGTERM first, and SIGKILL after ``seconds`` until none is left."""
    deadline = time.monotonic() + seconds
    remaining = send_signal(child, signal.SIGTERM)
    while remaining and time.monotonic() < deadline:
        time.sleep(0.05)
        remaining = send_signal(child, 0)
    while remaining and time.monotonic() < deadline + 10:
        remaining = send_signal(child, signal.SIGKILL)
        time.sleep(0.05)


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status as a shell does."""
    seconds, command = float(arguments[0]), arguments[1:]
    if _PROCESSES.is_dir():
        ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127

    def watch() -> None:
        os.read(0, 1)  # not sys.stdin: its lock would still be held when this process ends
        end(child.pid, seconds)

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    end(child.pid, seconds)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

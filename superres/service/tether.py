"""Runs a command that ends with its parent: ``tether.py SECONDS COMMAND [ARGUMENT …]``.

Standard input is a pipe that the parent holds open. When it closes, because the parent closed it or
is gone, the command gets SIGTERM, and SIGKILL if it has not ended SECONDS later. What the command
leaves in its process group gets SIGKILL in any case, even when this process is killed: a second
one, its guard, waits for that. Exits with the command's code, or 128 + n
where signal n ended it. Started as ``python -I -S``, so that it needs hardly any time or memory:
standard library only.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress


def main(seconds: float, command: list[str]) -> int:
    """Runs the command until it ends or standard input does."""
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals that came before the command

    def forward(number: int, _: object) -> None:
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it, for the command too
            signal.signal(number, forward)
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
        guard, dismiss = _guard(process)
    except OSError as error:
        if process is not None:
            _kill_group(process)
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    for received in early:
        process.send_signal(received)
    threading.Thread(target=_end_with_input, args=(process, seconds), daemon=True).start()
    process.wait()
    _kill_group(process)
    with suppress(BrokenPipeError):  # the guard was killed
        os.write(dismiss, b".")
    os.waitpid(guard, 0)
    return exit_code(process)


def exit_code(process: "subprocess.Popen[bytes]") -> int:
    """The exit code of a process that has ended, as a shell gives it: 128 + n for signal n."""
    code: int = process.returncode
    return 128 - code if code < 0 else code


def _end_with_input(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    while os.read(0, 4096):
        pass
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill_group(process)


def _guard(process: "subprocess.Popen[bytes]") -> tuple[int, int]:
    """Forks a process that kills the group of the command when this one is gone.

    Linux could signal the command itself (PR_SET_PDEATHSIG), but not what a shell has started.

    Returns:
        Its process ID, and where a byte dismisses it.
    """
    waits, dismiss = os.pipe()  # the command inherits neither end
    guard = os.fork()
    if guard:
        os.close(waits)
        return guard, dismiss
    try:
        os.setsid()  # so that what is sent to the group of this process does not reach the guard
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.closerange(0, waits)  # among them logs, whose readers wait for their end
        os.closerange(waits + 1, dismiss + 1)
        if not os.read(waits, 1):
            _kill_group(process)
    finally:
        os._exit(0)


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    # PermissionError is what macOS gives for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))

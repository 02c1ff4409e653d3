"""Runs a command that ends with its parent: ``tether.py COMMAND [ARGUMENT …]``.

Standard input is a pipe that the parent holds open. When it closes, because the parent closed it or
is gone, the command gets SIGTERM, and SIGKILL after a minute, and so does all that is left in its
process group. Exits with the command's code, or 128 + n where signal n ended it. Started as
``python -I -S``, so that it needs hardly any time or memory: standard library only.
"""

import os
import signal
import subprocess
import sys
import threading

_PATIENCE = 60.0


def main(command: list[str]) -> int:
    """Runs the command until it ends or standard input does."""
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: process.send_signal(received))
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    code = process.wait()
    return 128 - code if code < 0 else code


def _end_with_input(process: "subprocess.Popen[bytes]") -> None:
    while os.read(0, 4096):
        pass
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

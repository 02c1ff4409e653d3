"""Wait until an address answers: `wait_ready.py URL PID SECONDS`.

Exits 0 when URL answers, 1 when process PID is gone or SECONDS have passed.
"""

import os
import sys
import time
import urllib.error
import urllib.request


def answers(url: str) -> bool:
    """Tell whether `url` answers with success within two seconds."""
    # No proxy: a proxy named in the environment cannot know this machine's loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False


def alive(pid: int) -> bool:
    """Tell whether process `pid` exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main(url: str, pid: int, seconds: float) -> int:
    """Poll `url`; return the exit status."""
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        if answers(url):
            return 0
        time.sleep(0.1)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))

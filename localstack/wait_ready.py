"""Wait until an address responds: `wait_ready.py URL PID SECONDS`.

Exits 0 when URL responds, 1 when process PID has ended or SECONDS have passed.
"""

import os
import sys
import time
import urllib.error
import urllib.request


def answers(url: str) -> bool:
    """Return whether `url` responds with success within two seconds."""
    # No proxy: one in the environment cannot reach this machine's loopback address.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2):
            return True
    except (OSError, urllib.error.URLError):
        return False


def alive(pid: int) -> bool:
    """Return whether process `pid` exists."""
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

"""Threads that do not keep their process from ending."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from superres.service import leaving
from superres.service.pool import Pool
from tests.support.http_server import until
from tests.support.paths import ROOT

PROGRAM = """
import time
from superres.service.leaving import exit_process
from superres.service.pool import Pool
pool = Pool(2, "busy")
for _ in range(4):
    pool.submit(time.sleep, 600)
print(pool.close(0.1), "left behind")
exit_process(3)
"""


def test_a_process_ends_with_its_code_and_output_although_threads_are_busy():
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "2 left behind\n", "")
    assert time.monotonic() - began < 60


def test_what_ends_in_time_is_awaited_and_what_has_not_begun_is_dropped():
    begun, finish = Event(), Event()

    def work() -> str:
        begun.set()
        assert finish.wait(30)
        return "done"

    pool = Pool(1, "work")
    first, second = pool.submit(work), pool.submit(work)
    assert begun.wait(30)
    with ThreadPoolExecutor(1) as other:
        left = other.submit(pool.close, 30)
        until(second.cancelled, 30)
        finish.set()
        assert left.result(30) == 0
    assert first.result() == "done"
    assert not leaving._left_behind.is_set()

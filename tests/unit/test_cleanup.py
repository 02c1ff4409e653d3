"""No process that a test starts outlives it."""

from pathlib import Path

from tests.support.cleanup import killed_at_the_end
from tests.support.cleanup_process import processes_of
from tests.support.http_server import until

_RUN = """
import os, subprocess, time
from tests.support.cleanup import FOLDER_VARIABLE, folder_with_cleanup

with folder_with_cleanup() as folder:
    marked = {**os.environ, FOLDER_VARIABLE: str(folder)}
    subprocess.Popen(["sleep", "600"], env=marked, start_new_session=True)
    subprocess.Popen(["sleep", "600"], cwd=folder, start_new_session=True)
    print(folder, flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_of_a_process_that_was_killed() -> None:
    with killed_at_the_end(_RUN) as printed:
        folder = Path(printed[0])
        # A process that has just begun has no environment to read yet.
        until(lambda: len(list(processes_of(folder))) == 2, 30)
    until(lambda: not folder.exists(), 30)
    assert list(processes_of(folder)) == []

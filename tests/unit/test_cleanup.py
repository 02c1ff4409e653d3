"""What a test process has started does not outlive it."""

from pathlib import Path

from tests.support.cleanup import to_be_killed
from tests.support.cleanup_process import processes_of
from tests.support.http_server import until

_RUN = """
import os, subprocess, time
from tests.support.cleanup import MARK, kept_folder

with kept_folder() as folder:
    marked = {**os.environ, MARK: str(folder)}
    subprocess.Popen(["sleep", "600"], env=marked, start_new_session=True)
    subprocess.Popen(["sleep", "600"], cwd=folder, start_new_session=True)
    print(folder, flush=True)
    time.sleep(600)
"""


def test_nothing_is_left_of_a_process_that_was_killed() -> None:
    with to_be_killed(_RUN) as told:
        folder = Path(told[0])
        # A process that has just begun has no environment to read yet.
        until(lambda: len(list(processes_of(folder))) == 2, 30)
    until(lambda: not folder.exists(), 30)
    assert list(processes_of(folder)) == []

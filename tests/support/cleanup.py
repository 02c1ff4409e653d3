"""Processes that tests start end with the tests, whether these finish, get Ctrl-C or are killed."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT

FOLDER_VARIABLE = "TEST_RUN_FOLDER"
"""In the environment of a process: the folder with which it is to end."""
PATIENCE = 30.0


@contextmanager
def killed_at_the_end(program: str) -> Iterator[list[str]]:
    """Runs a Python program and yields the words of its first line; kills it after the block."""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().split()
        finally:
            running.kill()


@contextmanager
def folder_with_cleanup() -> Iterator[Path]:
    """A temporary folder that is removed after the block, with all processes that belong to it.

    A process belongs to it if it runs in the folder or has its path in ``FOLDER_VARIABLE``. Another
    process (cleanup_process.py) does the work, even if this one is killed.
    """
    folder = Path(tempfile.mkdtemp(prefix="superres-tests-"))
    cleaner = subprocess.Popen(
        [sys.executable, "-m", "tests.support.cleanup_process", str(folder)],
        cwd=ROOT,
        # It must not end with a test run that this one is part of.
        env={name: text for name, text in os.environ.items() if name != FOLDER_VARIABLE},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield folder
    finally:
        assert cleaner.stdin is not None
        cleaner.stdin.close()
        # After a deployment, on a busy machine, this once took longer than two minutes.
        cleaner.wait(10 * PATIENCE)

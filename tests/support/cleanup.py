"""What tests have started ends with them, however they end: done, Ctrl-C or kill -9."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT

MARK = "KEPT_FOLDER"  # in the environment of what is to end with the folder that it names
PATIENCE = 30.0


@contextmanager
def to_be_killed(program: str) -> Iterator[list[str]]:
    """What a Python program says first, word by word; with the block it ends by kill -9."""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        try:
            yield running.stdout.readline().split()
        finally:
            running.kill()


@contextmanager
def kept_folder() -> Iterator[Path]:
    """A folder; it, what runs in it and what bears its mark is gone when the block has ended.

    A process of its own (keeper.py) sees to that, also when nothing is left of this one.
    """
    folder = Path(tempfile.mkdtemp(prefix="superres-tests-"))
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.support.cleanup_process", str(folder)],
        cwd=ROOT,
        # It must outlive whatever it is started within.
        env={name: text for name, text in os.environ.items() if name != MARK},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield folder
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        # After a deployment, beside other work, this once took longer than two minutes.
        keeper.wait(10 * PATIENCE)

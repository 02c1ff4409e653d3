"""Ends the processes that belong to a test run's folder (cleanup.py) once the run has ended.

``python -m tests.support.cleanup_process FOLDER`` waits until its standard input closes, as it does
when the process at the other end closes it or is gone. LOCAL_CLOUD_LOGS=FOLDER copies the logs of
LocalStack, the steps and the units there first.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from superres.service.signals import ENDING
from tests.support.cleanup import FOLDER_VARIABLE, PATIENCE


def clean_up(folder: Path) -> None:
    """Ends LocalStack, then all other processes, and removes the folder."""
    if os.environ.get("LOCAL_CLOUD_LOGS"):
        try:
            copy_logs(folder, Path(os.environ["LOCAL_CLOUD_LOGS"]))
        except OSError as error:
            print(f"LOCAL_CLOUD_LOGS: {error}", file=sys.stderr)
    if (folder / "localstack").exists():
        from tests.support.localstack import (
            LocalCloud,  # rarely needed, and boto3 with it
        )

        LocalCloud(0, folder / "localstack").script("down")  # which asks for no port
    deadline = time.monotonic() + PATIENCE
    while (left := list(processes_of(folder))) and time.monotonic() < deadline:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def copy_logs(folder: Path, target: Path) -> None:
    """Copies what helps to understand a failure, with its relative paths."""
    for pattern in ("*.log", "*/*.log", "instances/*/*.log", "localstack/emr/*/logs/**/std*"):
        for file in folder.glob(pattern):
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def processes_of(folder: Path) -> Iterator[int]:
    """The processes that belong to a folder, without this one."""
    mark = f"{FOLDER_VARIABLE}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (process / "environ").read_bytes().split(b"\0")
            inside = (process / "cwd").readlink().is_relative_to(folder)
        except OSError:
            continue  # gone, or of another user
        if (marked or inside) and int(process.name) != os.getpid():
            yield int(process.name)


def main() -> None:
    """Waits for the end of the test run, then cleans up."""
    # The signals that end the tests must not end this.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    clean_up(Path(sys.argv[1]))


if __name__ == "__main__":
    main()

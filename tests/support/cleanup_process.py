"""Takes down what tests have started in a folder or with its mark (kept.py), once they have ended.

``python -m tests.support.cleanup_process FOLDER`` waits until its standard input closes, which only
the process that holds the other end can keep from happening by living on.

LOCAL_CLOUD_LOGS=FOLDER lets it keep what was logged there, of LocalStack, the steps and the units.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.cleanup import MARK, PATIENCE


def take_down(folder: Path) -> None:
    """Ends LocalStack, then all else, and removes the folder."""
    if os.environ.get("LOCAL_CLOUD_LOGS"):
        try:
            keep_logs(folder, Path(os.environ["LOCAL_CLOUD_LOGS"]))
        except OSError as error:
            print(f"LOCAL_CLOUD_LOGS: {error}", file=sys.stderr)
    if (folder / "localstack").exists():
        from tests.support.localstack import (
            LocalCloud,  # most keepers never need it, nor boto3 with it
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


def keep_logs(folder: Path, target: Path) -> None:
    """Copies what helps to understand a failure, under the paths that it has."""
    for pattern in ("*.log", "*/*.log", "instances/*/*.log", "localstack/emr/*/logs/**/std*"):
        for file in folder.glob(pattern):
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def processes_of(folder: Path) -> Iterator[int]:
    """What runs with the mark of a folder, or within it; not this process."""
    mark = f"{MARK}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (process / "environ").read_bytes().split(b"\0")
            inside = (process / "cwd").readlink().is_relative_to(folder)
        except OSError:
            continue  # gone, or of another user
        if (marked or inside) and int(process.name) != os.getpid():
            yield int(process.name)


def main() -> None:
    """Waits, then takes all down."""
    # What ends the tests must not end this.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    take_down(Path(sys.argv[1]))


if __name__ == "__main__":
    main()

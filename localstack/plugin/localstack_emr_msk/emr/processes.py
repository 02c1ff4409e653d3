"""Processes beside LocalStack that never outlive it."""

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from localstack_emr_msk.node import supervisor


class Process:
    """A running command, under ``node/supervisor.py``.

    Args:
        command: Program and arguments.
        environment: All of its environment variables.
        folder: Its working directory.
        stdout: File for its standard output.
        stderr: File for its standard error.
        stop_seconds: How long it may take to end before it is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        stdout: Path,
        stderr: Path,
        stop_seconds: float,
    ) -> None:
        for file in (stdout, stderr):
            file.parent.mkdir(parents=True, exist_ok=True)
        watched = [sys.executable, "-I", "-S", supervisor.__file__, str(stop_seconds), *command]
        self._stopping = threading.Lock()
        with stdout.open("ab") as out, stderr.open("ab") as err:
            self._supervisor = subprocess.Popen(
                watched,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                cwd=folder,
                env=dict(environment),
                # Ctrl-C in the terminal is for LocalStack, whose end the supervisor notices.
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the command, or anything that it started, still runs."""
        return self._supervisor.poll() is None

    def wait(self, seconds: float | None = None) -> int:
        """Returns the exit status; raises ``subprocess.TimeoutExpired``."""
        # Not Popen.communicate: it would close the pipe, which stops the command.
        code = self._supervisor.wait(seconds)
        self.stop()  # closes the pipe
        return code

    def stop(self) -> None:
        """Starts to end the command and everything that it started; does not wait."""
        with self._stopping:
            if self._supervisor.stdin is not None and not self._supervisor.stdin.closed:
                with suppress(OSError):
                    self._supervisor.stdin.close()

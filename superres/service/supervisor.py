"""Commands beside this process, each with a log: started, awaited, and ended in reverse order.

`make run`, the notebook and the tests start Kafka, the consumer, the gallery and the rest with it.
Each command runs in a session of its own, so that Ctrl-C reaches only the supervisor, which then
ends its commands in turn. A *tied* command also ends when the supervisor is killed: a small parent
process (``tether.py``) holds a pipe from the supervisor and ends the command when the pipe closes.
If the parent process is killed, so is the command.
POSIX only (Linux, macOS); needs nothing beside the standard library.
"""

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from superres.errors import SuperresError
from superres.service import tether
from superres.service.signals import ENDING

_POLL_SECONDS = 0.1
_TETHER_PATIENCE = 30.0  # for a command in the foreground to end once its supervisor is gone
_TETHER_SECONDS = 10.0  # for the tether to notice that its command has ended
_ERROR = re.compile(r"^(superres|kafka-up): ")


@dataclass(frozen=True)
class Service:
    """A command that was started.

    Attributes:
        name: how error messages call it.
        process: the command, or the tether that runs it.
        log: the file that its standard error goes to, and its standard output unless that has a
            file of its own.
        patience: seconds that it has to end before it is killed.
    """

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path
    patience: float

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def log_text(self) -> str:
        """All that it has logged so far."""
        return self.log.read_text(errors="replace")

    def last_error(self) -> str:
        """The line that explains best why it ended: one of our error lines, else its last line."""
        lines = self.log_text().splitlines() or ["it printed nothing"]
        errors = [line for line in lines if _ERROR.match(line)]
        return _ERROR.sub("", (errors or lines)[-1])

    def wait(self) -> int:
        """Waits until it ends by itself; returns its exit code, 128 + n after signal n."""
        self.process.wait()
        return tether.exit_code(self.process)

    def end(self) -> None:
        """Ends it by SIGTERM, and by SIGKILL when it has not ended after its patience."""
        if self.process.stdin is not None:
            self.process.stdin.close()  # the tether sends SIGTERM, and SIGKILL after the patience
            _wait_or_kill(self.process, self.patience + _TETHER_SECONDS)
            return
        if self.running:
            self.process.terminate()
        _wait_or_kill(self.process, self.patience)


def start(
    name: str,
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    output: Path | None = None,
    folder: Path | None = None,
    tied: bool = True,
    patience: float = 60.0,
) -> Service:
    """Starts a command.

    Args:
        name: how error messages call it.
        command: program and arguments.
        log: emptied first; gets standard error, and standard output unless ``output`` is given.
        environment: variables in addition to this process's own.
        output: gets standard output.
        folder: to run in; None: the current one.
        tied: whether it ends when this process does, however that comes about.
        patience: seconds that it has to end before it is killed.
    """
    if tied:
        command = _tied(command, patience)
    with ExitStack() as files:
        log_file = files.enter_context(log.open("wb"))
        output_file = files.enter_context(output.open("wb")) if output else log_file
        process = subprocess.Popen(
            list(command),
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE if tied else subprocess.DEVNULL,
            stdout=output_file,
            stderr=log_file,
            cwd=folder,
            start_new_session=True,
        )
    return Service(name, process, log, patience)


def _tied(command: Sequence[str], patience: float) -> list[str]:
    """The command with a tether, which holds a pipe to this process as its standard input."""
    return [sys.executable, "-I", "-S", tether.__file__, str(patience), *command]


class Supervisor:
    """Starts services with a log each in one folder; leaving its block ends them.

    Args:
        logs: folder for the logs, which are called ``NAME.log``.
        patience: seconds that a service has to end before it is killed.
    """

    def __init__(self, logs: Path, patience: float = 60.0) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.logs = logs
        self.services: dict[str, Service] = {}
        self._patience = patience

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Service:
        """Starts a service that ends with this process."""
        log = self.logs / f"{name}.log"
        self.services[name] = start(
            name, command, log, environment=environment, patience=self._patience
        )
        return self.services[name]

    def check(self) -> None:
        """Raises ``SuperresError`` when a service has failed, with the reason from its log."""
        for name, service in self.services.items():
            if service.process.poll():
                raise SuperresError(f"{name}: {service.last_error()}")

    def wait_until(self, condition: Callable[[], bool], seconds: float = 600.0) -> None:
        """Waits until a condition holds.

        Raises ``SuperresError`` when a service fails meanwhile, or the time is over.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                raise SuperresError(f"not done after {seconds:.0f} s; see the logs {self.logs}")
            time.sleep(_POLL_SECONDS)

    def wait_for_line(self, service: Service, pattern: str) -> str:
        """Waits until a service logs a line that matches; returns the pattern's first group.

        Raises ``SuperresError`` as ``wait_until`` does.
        """
        found: list[str] = []

        def logged() -> bool:
            found.extend(re.findall(pattern, service.log_text(), re.MULTILINE)[:1])
            return bool(found)

        self.wait_until(logged)
        return found[0]

    def close(self) -> None:
        """Ends all services, the one started last first."""
        while self.services:
            _, service = self.services.popitem()
            service.end()


def run_in_foreground(
    command: Sequence[str], environment: Mapping[str, str] | None = None, patience: float = 120.0
) -> int:
    """Runs a command with this process's terminal and returns its exit code; main thread only.

    The first signal of ``ENDING`` is passed on to the command, which has ``patience`` seconds to
    end. Then this process's own handler of that signal is called. The command ends with this
    process, even if that is killed.
    """
    received: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def forward(number: int, _: object) -> None:
        received.append(number)
        if len(received) == 1 and process is not None:
            process.send_signal(number)

    with _handling(forward):
        process = subprocess.Popen(
            _tied(command, _TETHER_PATIENCE),
            stdin=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        if received:  # while it was being started
            process.send_signal(received[0])
        while process.poll() is None and not received:
            with suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        assert process.stdin is not None
        process.stdin.close()  # a command that still runs gets SIGTERM once more, then SIGKILL
        _wait_or_kill(process, _TETHER_PATIENCE + _TETHER_SECONDS)
    if received:
        signal.raise_signal(received[0])
    return tether.exit_code(process)


def _wait_or_kill(process: "subprocess.Popen[bytes]", patience: float) -> None:
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # each is the leader of its own group
        process.wait()


@contextmanager
def ignored_signals() -> Iterator[None]:
    """A second Ctrl-C must not leave half of the services behind."""
    with _handling(signal.SIG_IGN):
        yield


@contextmanager
def _handling(handler: Callable[[int, object], None] | signal.Handlers) -> Iterator[None]:
    # One that is ignored stays so: `nohup` and background jobs rely on that.
    caught = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in caught}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def free_port() -> int:
    """A free port of 127.0.0.1, outside the range of outgoing connections."""
    while True:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port

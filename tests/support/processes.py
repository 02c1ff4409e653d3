"""Commands of ours as processes beside a test, which can be asked, stopped and killed."""

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from superres.service.supervisor import start
from tests.support.http_server import until
from tests.support.kafka_broker import PATIENCE

SUPERRES = Path(sys.executable).parent / "superres"


class Service:
    """A `superres` command in a process of its own."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        folder.mkdir(parents=True)
        self._out = folder / "out"
        self._service = start(
            arguments[0],
            [str(SUPERRES), *arguments],
            folder / "log",
            environment=environment,
            output=self._out,
            folder=folder,
            tied=False,  # signals are for the command itself
        )
        self._process = self._service.process

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._service.log_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under a name."""
        lines = self.log.splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "}"]
        return [event for event in found if event["event"] == name]

    def page(self, path: str) -> tuple[int, str]:
        """What its health server answers."""
        until(lambda: bool(self.events("consuming")), PATIENCE)
        host, _, port = self.events("consuming")[0]["health"].partition(":")
        connection = HTTPConnection(host, int(port), timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """One of its metrics, summed over labels; 0 while there is none."""
        lines = self.page("/metrics")[1].splitlines()
        wanted = f"superres_ingestion_{name}"
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith((f"{wanted} ", f"{wanted}{{"))
        )

    def ready(self) -> bool:
        """Whether it has partitions and storage works."""
        return self.page("/readyz")[0] == 200

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def freeze(self) -> None:
        """Stops it in its tracks until ``thaw``."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        return self._process.wait(seconds)

    @property
    def running(self) -> bool:
        return self._service.running

"""Instances of the services: the user data of their launch template, run below a folder.

The script is the one that EC2 would run, with the exports that Terraform gave it. Between the two
stand those of `_here`: what a folder of this machine has otherwise than an instance.
"""

import base64
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from superres.service.supervisor import free_port
from tests.local_cloud.stack import Stack
from tests.support.http_server import until

SHEBANG = "#!/usr/bin/env bash\n"
_START_SECONDS = 90.0


@dataclass(frozen=True)
class Instance:
    """A folder that stands for an instance, and the units that run there.

    Attributes:
        group: name of the Auto Scaling group and of its launch template.
        ports: on 127.0.0.1, by unit.
        settings: for its units, beside those of the user data.
    """

    stack: Stack
    group: str
    ports: Mapping[str, int]
    settings: Mapping[str, str] = field(default_factory=dict)
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.stack.folder / "instances" / self.group

    @property
    def user_data(self) -> str:
        """The user data in the applied launch template."""
        return base64.b64decode(self._template["UserData"]).decode()

    @property
    def profile(self) -> str:
        """The name of the instance profile in the launch template."""
        return str(self._template["IamInstanceProfile"]["Arn"]).rpartition("/")[2]

    @cached_property
    def _template(self) -> dict[str, Any]:
        found: Any = self.stack.client("ec2").describe_launch_template_versions(
            LaunchTemplateName=self.group, Versions=["$Latest"]
        )["LaunchTemplateVersions"]
        data: dict[str, Any] = found[0]["LaunchTemplateData"]
        return data

    @property
    def environment(self) -> dict[str, str]:
        """The variables of script and units, which get the credentials of the instance profile."""
        # If this machine has no AWS command line, the nodes of EMR have a replacement.
        stand_in = self.stack.folder / "localstack" / "emr" / "bin"
        return self.stack.environment_of("ec2", self.profile, "i-0123456789abcdef0") | {
            "PATH": f"{os.environ['PATH']}:{stand_in}"
        }

    def install(self) -> list[str]:
        """Runs the user data; returns the units that it prints."""
        exports, script = self.user_data.removeprefix(SHEBANG).split(SHEBANG, 1)
        here = "".join(f"export {name}='{text}'\n" for name, text in self._here().items())
        done = subprocess.run(
            ["bash"],
            input=exports + here + script,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.split() for line in done.stdout.splitlines()]
        return [words[1].rstrip(":") for words in lines if words[0] == "start"]

    def _here(self) -> dict[str, str]:
        """Returns the settings that differ from EC2: no root, loopback, free ports."""
        return {
            "SUPERRES_ROOT": str(self.root),
            "SUPERRES_PYTHON": sys.executable,
            **self.settings,
        }

    def command(self, name: str, *arguments: str) -> list[str]:
        """Returns the command line of an installed command, such as `produce`."""
        return [str(self.root / "opt" / "superres" / "bin" / name), *arguments]

    def start(self, unit: str) -> None:
        """Starts a unit, as systemd would."""
        with self._log(unit).open("wb") as log:
            self.running[unit] = subprocess.Popen(
                self.command(unit),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_ready(self) -> None:
        """Waits until all started units are ready."""
        for unit in self.running:
            until(partial(self._is_ready, unit), _START_SECONDS)

    def _is_ready(self, unit: str) -> bool:
        assert self.running[unit].poll() is None, f"{unit} has ended:\n{self.log(unit)[-3000:]}"
        try:
            return self.ask(unit, "GET", "/readyz")[0] == 200
        except OSError:
            return False

    def ask(
        self,
        unit: str,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Sends a request to a unit; returns status and body."""
        connection = HTTPConnection("127.0.0.1", self.ports[unit], timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def log(self, unit: str) -> str:
        return self._log(unit).read_text(errors="replace")

    def _log(self, unit: str) -> Path:
        return self.root / f"{unit}.log"

    def stop(self) -> dict[str, int]:
        """Stops the units as systemd would; returns their exit codes."""
        for process in self.running.values():
            process.terminate()
        return {unit: process.wait(60) for unit, process in self.running.items()}


def ingestion_instance(stack: Stack, source: str) -> Instance:
    """The instance with consumer, uploads and starts; it may fetch from a host of this machine."""
    ports = {unit: free_port() for unit in ("consume", "uploads", "start-runs")}
    return Instance(
        stack,
        stack.outputs["service_groups"]["ingestion"],
        ports,
        {
            "SUPERRES_INGESTION__CONSUMER_PORT": str(ports["consume"]),
            "SUPERRES_INGESTION__UPLOAD_HOST": "127.0.0.1",
            "SUPERRES_INGESTION__UPLOAD_PORT": str(ports["uploads"]),
            "SUPERRES_STARTS__PORT": str(ports["start-runs"]),
            "SUPERRES_INGESTION__ALLOWED_HOSTS": f'["{source}"]',
            # MSK's certificates are public.
            "SUPERRES_KAFKA__CA_FILE": str(stack.broker.ca_file),
        },
    )


def notifier_instance(stack: Stack, receiver: str) -> Instance:
    """The instance with the gallery; it may send webhooks to a receiver of this machine."""
    ports = {"notify": free_port()}
    return Instance(
        stack,
        stack.outputs["service_groups"]["notifier"],
        ports,
        {
            "SUPERRES_NOTIFIER__HOST": "127.0.0.1",
            "SUPERRES_NOTIFIER__PORT": str(ports["notify"]),
            "SUPERRES_NOTIFIER__ALLOWED_HOSTS": f'["{receiver}"]',
        },
    )

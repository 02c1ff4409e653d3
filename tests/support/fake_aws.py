"""Stand-ins for AWS and Terraform.

Clients return the responses that a test gives, which botocore checks against the services' models.
"""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.stub import Stubber

REGION = "eu-central-1"


def stubbed(service: str) -> tuple[Any, Stubber]:
    """Returns a client of a service, and the stubber that takes its responses in order."""
    make: Any = boto3.client  # its types accept literal service names only
    client = make(service, region_name=REGION, aws_access_key_id="x", aws_secret_access_key="x")
    stub = Stubber(client)
    stub.activate()
    return client, stub


@dataclass
class Recorder:
    """Stands in for running processes: records each call and returns the answer for its command."""

    answers: dict[str, int | str] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)

    def __call__(
        self, command: Sequence[str], environment: Mapping[str, str], capture: bool
    ) -> "subprocess.CompletedProcess[str]":
        self.calls.append(list(command))
        self.environments.append(environment)
        verb = next(part for part in command[1:] if not part.startswith("-"))
        answer = self.answers.get(verb, 0)
        if isinstance(answer, str):
            return subprocess.CompletedProcess(list(command), 0, answer, "")
        text = "╷\n│ Error: It broke\n│\n│   on main.tf line 3:\n│\n│ Because of\n│ this.\n╵\n"
        return subprocess.CompletedProcess(list(command), answer, "", text)

    @property
    def verbs(self) -> list[str]:
        return [next(part for part in call[1:] if part[0] != "-") for call in self.calls]

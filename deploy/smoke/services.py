"""The page and the uploads, reached directly or through a session of Session Manager."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deploy.environments import SERVICE_PORTS, Deployed
from deploy.smoke.waiting import wait_until
from superres.errors import SuperresError, TransferError
from superres.service.public_http import Client
from superres.service.supervisor import free_port

_SECONDS = 60.0
_PROBE_SECONDS = 5.0
_TUNNEL_SECONDS = 30.0
_PLUGIN = "session-manager-plugin"


@dataclass(frozen=True)
class Site:
    """A service that can be reached: its address, without a path, and its token."""

    address: str
    token: str

    def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        content_type: str | None = None,
        seconds: float = _SECONDS,
    ) -> tuple[int, bytes]:
        """Sends a request with the token; returns status and body."""
        headers = [("Authorization", f"Bearer {self.token}")]
        if content is not None:
            headers += [("Content-Length", str(len(content))), ("Content-Type", content_type or "")]
        with (
            closing(Client([urlsplit(self.address).netloc])) as client,
            client.request(
                method, f"{self.address}{path}", seconds=seconds, headers=headers, content=content
            ) as response,
        ):
            return response.status, b"".join(response.chunks)

    def get_json(self, path: str) -> Any:
        """Returns the JSON at a path; raises ``TransferError`` for any other response."""
        status, body = self.ask("GET", path)
        if status != 200:
            raise TransferError(f"{self.address}{path}: the service answered {status}")
        return json.loads(body)

    def answers(self) -> bool:
        """Whether the service is there."""
        try:
            return self.ask("GET", "/healthz", seconds=_PROBE_SECONDS)[0] == 200
        except SuperresError:
            return False


@dataclass(frozen=True)
class Reached:
    """The services, and for each that is not there, why."""

    page: Site | None
    uploads: Site | None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Service:
    """What is known of a service: its output, group and token."""

    output: str
    group: str
    token: str


_PAGE = _Service("page_url", "notifier", "notifier")
_UPLOADS = _Service("uploads_url", "ingestion", "uploads")


@contextmanager
def reached_services(
    deployed: Deployed, session: Any, page: str | None, uploads: str | None
) -> Iterator[Reached]:
    """Finds both services: at the given addresses, at their own, or through a tunnel."""
    with ExitStack() as tunnels:
        found = [
            _find(service, given, deployed, session, tunnels)
            for service, given in ((_PAGE, page), (_UPLOADS, uploads))
        ]
        sites = [each if isinstance(each, Site) else None for each in found]
        yield Reached(sites[0], sites[1], tuple(each for each in found if isinstance(each, str)))


def _find(
    service: _Service, given: str | None, deployed: Deployed, session: Any, tunnels: ExitStack
) -> Site | str:
    """Returns the service, or why it cannot be reached."""
    address = given or deployed.addresses.get(service.output)
    if address is None:
        return f"{service.output}: {deployed.environment.name} has no instances"
    token = _token(session, deployed["tokens"][service.token])
    if token is None:
        return f"{service.output}: its secret has no value yet; no instance has started"
    parts = urlsplit(address)
    site = Site(f"{parts.scheme}://{parts.netloc}", token)
    if given or _is_direct(parts.hostname):
        if site.answers():
            return site
        if given:
            return f"{given}: nothing answers there"
    for program in ("aws", _PLUGIN):
        if shutil.which(program) is None:
            return f"{address}: cannot be reached from here, and there is no {program} for a tunnel"
    instance = _instance(session, deployed["service_groups"][service.group])
    if instance is None:
        return f"{address}: there is no instance of {deployed['service_groups'][service.group]}"
    local = free_port()
    port, region = SERVICE_PORTS[service.group], deployed.environment.region
    tunnels.enter_context(_tunnel(tunnel_command(instance, region, port, local)))
    tunnelled = Site(f"http://127.0.0.1:{local}", token)
    if wait_until(tunnelled.answers, _TUNNEL_SECONDS):
        return tunnelled
    return f"{address}: nothing answers through a session to {instance}"


def _is_direct(host: str | None) -> bool:
    """Whether the address may be reached without a tunnel; localhost is one that someone opens."""
    return host not in (None, "localhost")


def tunnel_command(instance: str, region: str, port: int, local: int) -> list[str]:
    """Returns the command that forwards a local port to a port of an instance."""
    parameters = f"portNumber={port},localPortNumber={local}"
    command = ["aws", "ssm", "start-session", "--region", region, "--target", instance]
    return [
        *command,
        "--document-name",
        "AWS-StartPortForwardingSession",
        "--parameters",
        parameters,
    ]


@contextmanager
def _tunnel(command: Sequence[str]) -> Iterator[None]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(_TUNNEL_SECONDS)


def _token(session: Any, secret: str) -> str | None:
    client = session.client("secretsmanager")
    try:
        return str(client.get_secret_value(SecretId=secret)["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None


def _instance(session: Any, group: str) -> str | None:
    groups = session.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[group]
    )["AutoScalingGroups"]
    instances = [each["InstanceId"] for found in groups for each in found["Instances"]]
    return instances[0] if instances else None

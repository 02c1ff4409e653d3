"""All clusters and security configurations of this LocalStack."""

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from localstack_emr_msk.calls import Caller, Request, Response
from localstack_emr_msk.credentials import instance_credentials
from localstack_emr_msk.emr.cluster import ENDED, Cluster, Ending
from localstack_emr_msk.emr.ec2 import Ec2Network
from localstack_emr_msk.emr.machine import Identity, LocalMachine, Machine, applications_of
from localstack_emr_msk.emr.network import refusal
from localstack_emr_msk.emr.steps import Step
from localstack_emr_msk.errors import ServiceError, invalid_request, validation
from localstack_emr_msk.objects import S3Objects
from localstack_emr_msk.settings import Settings

_PAGE = 50  # EMR's


class Registry:
    """Clusters and security configurations by account and region."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._clusters: dict[Caller, dict[str, Cluster]] = {}
        self._security: dict[Caller, dict[str, Response]] = {}
        self.block_public: dict[Caller, Response] = {}

    def create(self, caller: Caller, request: Request) -> Cluster:
        """Creates and starts a cluster."""
        network = Ec2Network(self.settings.endpoint, caller)
        check = partial(refusal, request, caller.region, network)
        cluster = Cluster(caller, request, self.machine, check)
        with self._lock:
            self._clusters.setdefault(caller, {})[cluster.id] = cluster
        cluster.start()
        return cluster

    def machine(self, cluster: Cluster) -> Machine:
        """Creates the machine on which a cluster runs."""
        request = cluster.request
        identity = Identity(
            cluster=cluster.id,
            primary=cluster.primary,
            caller=cluster.caller,
            log_uri=request.get("LogUri"),
            applications=applications_of(request.get("Applications") or ()),
            configurations=tuple(request.get("Configurations") or ()),
            credentials=instance_credentials(
                self.settings.endpoint,
                cluster.caller.account,
                str(request["JobFlowRole"]),
                cluster.primary,
            ),
        )
        # Nodes read scripts and write logs with their instance profile:
        # https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-iam-role-for-ec2.html
        objects = S3Objects(self.settings.endpoint, cluster.caller.region, identity.credentials)
        return LocalMachine(self.settings, identity, objects)

    def clusters(self, caller: Caller) -> list[Cluster]:
        """Returns all clusters of an account and region, newest first."""
        with self._lock:
            return list(self._clusters.get(caller, {}).values())[::-1]

    def described(self, caller: Caller, identifier: str) -> Cluster:
        """Returns a cluster, or raises the error of operations that describe."""
        return self._find(caller, identifier) or _raise(
            invalid_request(f"Cluster id '{identifier}' is not valid.")
        )

    def changed(self, caller: Caller, identifier: str) -> Cluster:
        """Returns a cluster, or raises the error of operations that change."""
        return self._find(caller, identifier) or _raise(
            validation("Specified job flow ID does not exist.")
        )

    def _find(self, caller: Caller, identifier: str) -> Cluster | None:
        with self._lock:
            return self._clusters.get(caller, {}).get(identifier)

    def tags(self, account: str, region: str, identifier: str) -> dict[str, str]:
        """Returns the tags of a cluster; an unknown one has none."""
        found = self._find(Caller(account, region), identifier)
        return dict(found.tags) if found else {}

    def security(self, caller: Caller) -> dict[str, Response]:
        """Returns the security configurations by name."""
        return self._security.setdefault(caller, {})

    def stop(self) -> None:
        """Terminates all clusters and waits for their processes."""
        with self._lock:
            active = [
                cluster
                for each in self._clusters.values()
                for cluster in each.values()
                if cluster.state not in ENDED
            ]
        for cluster in active:
            cluster.end(Ending("INTERNAL_ERROR", "LocalStack stops"))
        for cluster in active:
            cluster.join(self.settings.stop_seconds + 10)


def step_of(cluster: Cluster, identifier: str) -> Step:
    """Returns a step of a cluster."""
    for step in cluster.steps:
        if step.id == identifier:
            return step
    raise invalid_request(f"Step id '{identifier}' is not valid.")


def page(name: str, items: Sequence[Any], request: Request) -> Response:
    """Returns the page of a list that a request asks for; markers are item numbers."""
    marker = str(request.get("Marker") or "0")
    if not marker.isdecimal():
        raise invalid_request(f"Marker '{marker}' is not valid.")
    first = int(marker)
    answer: Response = {name: list(items[first : first + _PAGE])}
    if first + _PAGE < len(items):
        answer["Marker"] = str(first + _PAGE)
    return answer


def _raise(error: ServiceError) -> Cluster:
    raise error

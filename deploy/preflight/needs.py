"""What an environment's values ask AWS for, before Terraform has planned anything."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.environments import Environment
from deploy.terraform import value_of

# Terraform evaluates it, so that defaults of infra/variables.tf count.
_VALUES = """{
  release_label = var.processing.release_label,
  persistent    = var.cluster_lifecycle == "persistent",
  device        = var.processing.device,
  primary       = var.processing.primary.instance_types,
  core          = var.processing.core.instance_types,
  cores         = var.processing.core.instances,
  core_disk     = var.processing.core.disk_gigabytes,
  gpu           = var.processing.gpu.instance_types,
  tasks         = var.processing.gpu.max_instances,
  services      = [
    ["ingestion", var.ingestion.instance_type, var.ingestion.instances],
    ["notifier", var.notifier.instance_type, var.notifier.instances],
  ],
  zone_count    = var.zone_count,
  endpoints     = var.interface_endpoints,
  public        = var.public_addresses,
  kafka         = var.kafka.enabled ? var.kafka : null,
  alarms_email  = var.alarms.email,
  config        = var.config,
}"""

_ROOT_DISK, _PRIMARY_DISK = 64, 100  # gigabytes


@dataclass(frozen=True)
class Group:
    """Instances that start together, each of any of these types."""

    name: str
    instance_types: tuple[str, ...]
    instances: int


@dataclass(frozen=True)
class Kafka:
    """The brokers of MSK."""

    version: str
    instance_type: str


@dataclass(frozen=True)
class Needs:
    """The parts of an environment that AWS may not offer, or not in this number."""

    release_label: str
    persistent: bool  # a cluster that is always there, and is replaced by a second one
    primary: Group
    core: Group
    task: Group  # spot; `instances` is the most that managed scaling adds
    gpu: bool  # task instances have one
    services: tuple[Group, ...]
    zone_count: int
    endpoint_services: tuple[str, ...]
    kafka: Kafka | None
    core_disk: int = 0  # gigabytes
    alarms_email: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)  # what it sets in config.yaml

    def disk_of(self, fleet: Group) -> int:
        """The gigabytes of an instance's disks (``fleets`` in modules/processing/cluster.tf)."""
        if fleet is self.primary:
            return _ROOT_DISK + _PRIMARY_DISK
        if fleet is self.task and self.gpu:
            return _ROOT_DISK  # GPU types have a local disk
        return _ROOT_DISK + self.core_disk

    @property
    def cluster(self) -> tuple[Group, ...]:
        """The fleets of a cluster; without task instances when none may be added."""
        fleets = (self.primary, self.core, self.task)
        return tuple(fleet for fleet in fleets if fleet.instances > 0)


def emr_endpoint_service(region: str) -> str:
    """Returns EMR Spark 8's own endpoint service (infra/modules/processing/endpoint.tf)."""
    return f"aws.api.{region}.emr-service-cell01"


def needs_of(environment: Environment) -> Needs:
    """Reads what the environment's values ask for."""
    return _needs(value_of(re.sub(r"\s+", " ", _VALUES), environment.values), environment.region)


def _needs(values: dict[str, Any], region: str) -> Needs:
    gpu = values["device"] == "cuda"
    endpoints = [f"com.amazonaws.{region}.{name}" for name in values["endpoints"]]
    # EMR Spark 8 talks to a private cluster through it.
    if values["release_label"].startswith("emr-spark-") and not values["public"]:
        endpoints.append(emr_endpoint_service(region))
    kafka = values["kafka"]
    return Needs(
        release_label=values["release_label"],
        persistent=values["persistent"],
        primary=Group("primary", tuple(values["primary"]), 1),
        core=Group("core", tuple(values["core"]), values["cores"]),
        task=Group("task", tuple(values["gpu" if gpu else "core"]), values["tasks"]),
        gpu=gpu,
        services=tuple(Group(name, (kind,), count) for name, kind, count in values["services"]),
        zone_count=values["zone_count"],
        endpoint_services=tuple(endpoints),
        kafka=Kafka(kafka["version"], kafka["instance_type"]) if kafka else None,
        core_disk=values["core_disk"],
        alarms_email=values["alarms_email"],
        config=values["config"],
    )

"""Instance fleets and groups, whose instances exist in name only.

Whatever their capacity, a cluster is this one machine.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localstack_emr_msk.calls import Response, now, present

# States of instances by state of the cluster; others: RUNNING.
_STATES = {
    "STARTING": "PROVISIONING",
    "BOOTSTRAPPING": "BOOTSTRAPPING",
    "TERMINATED": "TERMINATED",
    "TERMINATED_WITH_ERRORS": "TERMINATED",
}
_SPECIFICATION = (
    "BidPrice",
    "BidPriceAsPercentageOfOnDemandPrice",
    "CustomAmiId",
    "Priority",
)


def identifier(prefix: str) -> str:
    """Returns a random id in EMR's form."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return prefix + "".join(random.choices(letters, k=13))


@dataclass
class Fleet:
    """An instance fleet, or an instance group when ``fleets`` is false."""

    config: dict[str, Any]
    fleets: bool
    id: str = ""
    on_demand: int = 0
    spot: int = 0
    created: datetime = field(default_factory=now)
    instances: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Creates the instances."""
        self.id = identifier("if-" if self.fleets else "ig-")
        if self.fleets:
            self.resize(
                self.config.get("TargetOnDemandCapacity"), self.config.get("TargetSpotCapacity")
            )
        else:
            self.resize(self.config.get("InstanceCount") or 0, 0)

    @property
    def role(self) -> str:
        """MASTER, CORE or TASK."""
        return str(self.config["InstanceFleetType" if self.fleets else "InstanceRole"])

    def resize(self, on_demand: int | None, spot: int | None) -> None:
        """Changes the target capacities, and the instances with them; None keeps one."""
        self.on_demand = self.on_demand if on_demand is None else on_demand
        self.spot = self.spot if spot is None else spot
        wanted = self.on_demand + self.spot
        while len(self.instances) < wanted:
            self.instances.append(f"i-{random.getrandbits(68):017x}")
        del self.instances[wanted:]

    def view(self, cluster_state: str) -> Response:
        """Returns an entry of ListInstanceFleets or ListInstanceGroups."""
        config = self.config
        state = state_of(cluster_state)
        common = {
            "Id": self.id,
            "Name": config.get("Name") or "",
            "Status": {
                "State": state,
                "StateChangeReason": {"Message": ""},
                "Timeline": {"CreationDateTime": self.created, "ReadyDateTime": self.created},
            },
        }
        if not self.fleets:
            return common | self._group()
        gone = state == "TERMINATED"
        return common | present(
            {
                "InstanceFleetType": self.role,
                "TargetOnDemandCapacity": self.on_demand,
                "TargetSpotCapacity": self.spot,
                "ProvisionedOnDemandCapacity": 0 if gone else self.on_demand,
                "ProvisionedSpotCapacity": 0 if gone else self.spot,
                "InstanceTypeSpecifications": [
                    _specification(each) for each in config.get("InstanceTypeConfigs") or []
                ],
                "LaunchSpecifications": config.get("LaunchSpecifications"),
            }
        )

    def _group(self) -> Response:
        config = self.config
        ebs = config.get("EbsConfiguration")
        return present(
            {
                "Market": config.get("Market")
                or ("SPOT" if config.get("BidPrice") else "ON_DEMAND"),
                "InstanceGroupType": self.role,
                "InstanceType": config.get("InstanceType"),
                "RequestedInstanceCount": len(self.instances),
                "RunningInstanceCount": len(self.instances),
                "Configurations": config.get("Configurations") or [],
                "EbsBlockDevices": _devices(ebs),
                "EbsOptimized": bool((ebs or {}).get("EbsOptimized")),
                "BidPrice": config.get("BidPrice"),
            }
        )

    def instance_views(self, cluster_state: str) -> list[Response]:
        """Returns the entries of ListInstances."""
        kinds = self.config.get("InstanceTypeConfigs") or [self.config]
        return [
            present(
                {
                    "Id": "ci-" + instance.removeprefix("i-")[:13].upper(),
                    "Ec2InstanceId": instance,
                    "InstanceFleetId" if self.fleets else "InstanceGroupId": self.id,
                    "InstanceType": kinds[0].get("InstanceType"),
                    "Market": "ON_DEMAND" if number < self.on_demand else "SPOT",
                    "Status": {
                        "State": state_of(cluster_state),
                        "StateChangeReason": {},
                        "Timeline": {"CreationDateTime": self.created},
                    },
                    "PrivateIpAddress": "127.0.0.1",
                    "PrivateDnsName": "localhost",
                }
            )
            for number, instance in enumerate(self.instances)
        ]


def state_of(cluster_state: str) -> str:
    """Returns the state of fleets and instances for a state of the cluster."""
    return _STATES.get(cluster_state, "RUNNING")


def fleets_of(instances: Mapping[str, Any]) -> list[Fleet]:
    """Returns the fleets or groups of a RunJobFlow, in any of its three forms."""
    if instances.get("InstanceFleets"):
        return [Fleet(dict(each), True) for each in instances["InstanceFleets"]]
    groups = instances.get("InstanceGroups")
    if not groups:
        master = instances["MasterInstanceType"]
        others = (instances.get("InstanceCount") or 1) - 1
        groups = [{"InstanceRole": "MASTER", "InstanceType": master, "InstanceCount": 1}]
        if others > 0:
            kind = instances.get("SlaveInstanceType") or master
            groups.append({"InstanceRole": "CORE", "InstanceType": kind, "InstanceCount": others})
    return [Fleet(dict(each), False) for each in groups]


def _specification(config: Mapping[str, Any]) -> Response:
    return {
        "InstanceType": config["InstanceType"],
        "WeightedCapacity": config.get("WeightedCapacity") or 1,
        "Configurations": config.get("Configurations") or [],
        "EbsBlockDevices": _devices(config.get("EbsConfiguration")),
        **{key: config[key] for key in _SPECIFICATION if config.get(key) is not None},
    }


def _devices(ebs: Mapping[str, Any] | None) -> list[Response]:
    volumes = [
        block["VolumeSpecification"]
        for block in (ebs or {}).get("EbsBlockDeviceConfigs") or []
        for _ in range(block.get("VolumesPerInstance") or 1)
    ]
    return [
        {"VolumeSpecification": volume, "Device": f"/dev/sd{chr(ord('b') + number)}"}
        for number, volume in enumerate(volumes)
    ]

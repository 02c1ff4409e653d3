"""Whether the zones that Terraform will use have the instance types."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deploy.preflight.finding import Finding, listed
from deploy.preflight.needs import Group, Needs

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client


def zones_of(needs: Needs, ec2: "EC2Client") -> list[str]:
    """Returns the zones of the network, chosen as infra/modules/network chooses them."""
    found = ec2.describe_availability_zones(
        Filters=[
            {"Name": "state", "Values": ["available"]},
            {"Name": "opt-in-status", "Values": ["opt-in-not-required"]},
        ]
    )["AvailabilityZones"]
    return sorted(zone["ZoneName"] for zone in found)[: needs.zone_count]


def zone_findings(needs: Needs, ec2: "EC2Client") -> Iterator[Finding]:
    """Yields what cannot start in the zones of the network, or only in some of them."""
    zones = zones_of(needs, ec2)
    if len(zones) < needs.zone_count:
        yield Finding(
            f"this region has {len(zones)} zones for the account, zone_count asks for "
            f"{needs.zone_count}: set zone_count to {len(zones)} in the environment's values, or "
            "choose another region"
        )
    offered = _offered(needs, zones, ec2)
    yield from _cluster_findings(needs, zones, offered)
    for service in needs.services:
        yield from _service_findings(service, zones, offered)


def _cluster_findings(
    needs: Needs, zones: Sequence[str], offered: Mapping[str, set[str]]
) -> Iterator[Finding]:
    """EMR starts a cluster in one zone, where each fleet must have one of its types.

    https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-instance-fleet.html
    """
    lacking = {
        zone: [
            fleet
            for fleet in needs.cluster
            if not any(zone in offered[kind] for kind in fleet.instance_types)
        ]
        for zone in zones
    }
    for zone, fleets in lacking.items():
        if fleets:
            which = "; ".join(f"{each.name}: {listed(each.instance_types)}" for each in fleets)
            everywhere = all(lacking.values())
            yield Finding(
                f"no cluster can start in {zone}, which has none of these instance types ({which});"
                " list others in the environment's values"
                + ("" if everywhere else ", or let clusters start in the other zones only"),
                stops=everywhere,
            )


def _service_findings(
    service: Group, zones: Sequence[str], offered: Mapping[str, set[str]]
) -> Iterator[Finding]:
    (kind,) = service.instance_types
    missing = [zone for zone in zones if zone not in offered[kind]]
    if missing:
        nowhere = len(missing) == len(zones)
        yield Finding(
            f"{kind}, the instance type of {service.name}, is not offered in {listed(missing)}; "
            f"set {service.name}.instance_type to another in the environment's values"
            + ("" if nowhere else ", or let its instances start in the other zones only"),
            stops=nowhere,
        )


def _offered(needs: Needs, zones: Sequence[str], ec2: "EC2Client") -> dict[str, set[str]]:
    """Returns the zones that offer each instance type."""
    groups = (*needs.cluster, *needs.services)
    kinds = list(dict.fromkeys(kind for group in groups for kind in group.instance_types))
    found: dict[str, set[str]] = {kind: set() for kind in kinds}
    pages = ec2.get_paginator("describe_instance_type_offerings").paginate(
        LocationType="availability-zone",
        Filters=[
            {"Name": "instance-type", "Values": kinds},
            {"Name": "location", "Values": list(zones)},
        ],
    )
    for page in pages:
        offering: Any  # types of boto3 list the instance types that they know
        for offering in page["InstanceTypeOfferings"]:
            found.setdefault(offering["InstanceType"], set()).add(offering["Location"])
    return found

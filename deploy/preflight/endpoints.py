"""Whether the region has the services of the network's interface endpoints, in all its zones."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploy.preflight.finding import Finding, listed
from deploy.preflight.needs import Needs
from deploy.preflight.zones import zones_of

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client


def endpoint_findings(needs: Needs, ec2: "EC2Client") -> Iterator[Finding]:
    """Yields the services that are missing; without EMR's, no private cluster of EMR 8 starts.

    An endpoint in a zone where its service is not offered is refused.
    https://docs.aws.amazon.com/vpc/latest/privatelink/create-interface-endpoint.html
    """
    if not needs.endpoint_services:
        return
    # By filter and not by name: a name that does not exist would be an error.
    found = ec2.describe_vpc_endpoint_services(
        Filters=[{"Name": "service-name", "Values": list(needs.endpoint_services)}]
    )["ServiceDetails"]
    zones = {each["ServiceName"]: set(each.get("AvailabilityZones", [])) for each in found}
    wanted = zones_of(needs, ec2)
    for service in needs.endpoint_services:
        if service not in zones:
            yield Finding(
                f"{ec2.meta.region_name} has no endpoint service {service}; {_remedy(service)}"
            )
            continue
        missing = [zone for zone in wanted if zone not in zones[service]]
        if missing:
            yield Finding(
                f"the endpoint service {service} is not offered in {listed(missing)}, where the "
                "network has subnets; choose another region or zone_count in the environment's "
                "values"
            )


def _remedy(service: str) -> str:
    if service.startswith("aws.api."):
        return (
            "EMR Spark 8 needs it for clusters in private subnets, so choose another region in the "
            "environment's values"
        )
    return f"take {service.rpartition('.')[2]} out of interface_endpoints"

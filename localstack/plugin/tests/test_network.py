"""What EMR demands of the network of a cluster, by release."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from localstack_emr_msk.emr.network import TAG, Endpoint, Group, Subnet, refusal

REGION = "eu-central-1"
CIDR = "10.20.0.0/16"
TAGGED = {TAG: "true"}
SERVICE = f"aws.api.{REGION}.emr-service-cell01"


def rule(port: int, **source: Any) -> dict[str, Any]:
    """Returns a rule for TCP at a port, as EC2 describes it."""
    group, cidr = source.get("group"), source.get("cidr")
    return {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "UserIdGroupPairs": [{"GroupId": group}] if group else [],
        "IpRanges": [{"CidrIp": cidr}] if cidr else [],
    }


@dataclass(frozen=True)
class Example:
    """A network that EMR Spark 8 accepts."""

    subnets: dict[str, Subnet] = field(
        default_factory=lambda: {"subnet-1": Subnet("vpc-1", False, TAGGED)}
    )
    groups: dict[str, Group] = field(
        default_factory=lambda: {
            "sg-primary": Group([], [rule(443, group="sg-service")], TAGGED),
            "sg-workers": Group([], [rule(443, group="sg-service")], TAGGED),
            "sg-service": Group([rule(443, cidr=CIDR)], [], TAGGED),
        }
    )
    interface_endpoints: tuple[Endpoint, ...] = (
        Endpoint(SERVICE, True, frozenset({"sg-service"})),
    )
    managed_policy: bool = True

    def subnet(self, identifier: str) -> Subnet | None:
        return self.subnets.get(identifier)

    def group(self, identifier: str) -> Group | None:
        return self.groups.get(identifier)

    def cidr(self, vpc: str) -> str:
        assert vpc == "vpc-1"
        return CIDR

    def endpoints(self, vpc: str) -> tuple[Endpoint, ...]:
        assert vpc == "vpc-1"
        return self.interface_endpoints

    def has_managed_policy(self, role: str) -> bool:
        assert role == "service"
        return self.managed_policy


GOOD = Example()
SEVEN = replace(
    GOOD,
    interface_endpoints=(),
    groups=GOOD.groups
    | {
        "sg-service": Group(
            [rule(9443, group="sg-primary")],
            [rule(8443, group="sg-primary"), rule(8443, group="sg-workers")],
            TAGGED,
        )
    },
)


def request(label: str = "emr-spark-8.1.0", **instances: Any) -> dict[str, Any]:
    return {
        "ReleaseLabel": label,
        "ServiceRole": "service",
        "Tags": [{"Key": TAG, "Value": "true"}],
        "Instances": {
            "Ec2SubnetIds": ["subnet-1"],
            "EmrManagedMasterSecurityGroup": "sg-primary",
            "EmrManagedSlaveSecurityGroup": "sg-workers",
            "ServiceAccessSecurityGroup": "sg-service",
            **instances,
        },
    }


def with_groups(network: Example, **groups: Group) -> Example:
    changed = {f"sg-{name}": group for name, group in groups.items()}
    return replace(network, groups=network.groups | changed)


def test_each_release_accepts_its_own_network() -> None:
    assert refusal(request(), REGION, GOOD) is None
    assert refusal(request("emr-7.14.0"), REGION, SEVEN) is None


def test_a_cluster_in_the_default_network_is_not_checked() -> None:
    assert refusal({"ServiceRole": "service", "Instances": {}}, REGION, Example({}, {})) is None


def test_a_cluster_in_public_subnets_needs_neither_endpoint_nor_service_access() -> None:
    public = replace(
        GOOD, subnets={"subnet-1": Subnet("vpc-1", True, TAGGED)}, interface_endpoints=()
    )
    assert refusal(request(ServiceAccessSecurityGroup=None), REGION, public) is None


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        # The networks of EMR 7: EMR Spark 8 has left those ports.
        (SEVEN, f"The network vpc-1 has no interface endpoint for {SERVICE} with private DNS"),
        (
            replace(GOOD, interface_endpoints=(Endpoint(SERVICE, False, frozenset()),)),
            f"The network vpc-1 has no interface endpoint for {SERVICE} with private DNS",
        ),
        (
            replace(GOOD, interface_endpoints=(Endpoint(SERVICE, True, frozenset({"sg-x"})),)),
            f"The endpoint for {SERVICE} does not have ServiceAccessSecurityGroup sg-service",
        ),
        (
            with_groups(GOOD, service=Group([rule(8443, cidr=CIDR)], [], TAGGED)),
            f"ServiceAccessSecurityGroup is missing ingress rule from {CIDR} on port 443",
        ),
        (
            # Half of the network is not the network.
            with_groups(GOOD, service=Group([rule(443, cidr="10.20.0.0/17")], [], TAGGED)),
            f"ServiceAccessSecurityGroup is missing ingress rule from {CIDR} on port 443",
        ),
        (
            with_groups(GOOD, primary=Group([], [rule(443, group="sg-workers")], TAGGED)),
            "EmrManagedMasterSecurityGroup is missing egress rule to "
            "ServiceAccessSecurityGroup on port 443",
        ),
        (
            replace(GOOD, subnets={}),
            "The subnet subnet-1 does not exist.",
        ),
        (
            replace(GOOD, subnets={"subnet-1": Subnet("vpc-1", False, {})}),
            f"Service role has insufficient EC2 permissions: the subnet subnet-1 lacks the tag "
            f"{TAG} = true, which AmazonEMRServicePolicy_v2 demands",
        ),
        (
            with_groups(GOOD, workers=Group([], [], {TAG: "false"})),
            "Service role has insufficient EC2 permissions: EmrManagedSlaveSecurityGroup "
            f"sg-workers lacks the tag {TAG} = true, which AmazonEMRServicePolicy_v2 demands",
        ),
    ],
)
def test_a_network_that_emr_spark_8_cannot_use_ends_the_cluster(
    network: Example, reason: str
) -> None:
    assert refusal(request(), REGION, network) == reason


def test_a_private_cluster_needs_the_group_for_service_access() -> None:
    missing = request(ServiceAccessSecurityGroup=None)
    reason = "ServiceAccessSecurityGroup is required for a cluster in a private subnet."
    assert refusal(missing, REGION, GOOD) == reason


def test_emr_7_needs_its_port_at_the_group_for_service_access() -> None:
    # The message is EMR's own.
    reason = (
        "ServiceAccessSecurityGroup is missing ingress rule from "
        "EmrManagedMasterSecurityGroup on port 9443"
    )
    assert refusal(request("emr-7.14.0"), REGION, GOOD) == reason


def test_tags_are_for_the_managed_policy_only() -> None:
    untagged = replace(GOOD, subnets={"subnet-1": Subnet("vpc-1", False, {})})
    assert refusal(request(), REGION, replace(untagged, managed_policy=False)) is None
    without = request() | {"Tags": []}
    assert "the cluster lacks the tag" in str(refusal(without, REGION, GOOD))

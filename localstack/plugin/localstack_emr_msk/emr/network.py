"""The network that EMR demands of a cluster in private subnets, by release.

Up to EMR 7, EMR reaches the primary instance at port 8443 and the primary instance EMR at 9443,
both through the security group for service access. EMR ends a cluster that lacks the rule for 9443
(https://github.com/hashicorp/terraform-provider-aws/issues/14338 has its message).
From EMR Spark 8 on, instances reach EMR at port 443 of an interface endpoint in their network:

- https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-man-sec-groups.html
- https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-clusters-in-a-vpc.html
- https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-spark-800-release.html

What AmazonEMRServicePolicy_v2 may touch bears a tag:
https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-managed-iam-policies.html
"""

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from localstack_emr_msk.calls import Request

TAG = "for-use-with-amazon-emr-managed-policies"
_HTTPS = 443
_PRIMARY = "EmrManagedMasterSecurityGroup"
_WORKERS = "EmrManagedSlaveSecurityGroup"
_SERVICE = "ServiceAccessSecurityGroup"


@dataclass(frozen=True)
class Subnet:
    """A subnet; public if its routes lead to an internet gateway."""

    vpc: str
    public: bool
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """A security group; its rules as EC2 describes them."""

    inbound: Sequence[Mapping[str, Any]]
    outbound: Sequence[Mapping[str, Any]]
    tags: Mapping[str, str]


@dataclass(frozen=True)
class Endpoint:
    """An interface endpoint that is available."""

    service: str
    private_dns: bool
    groups: frozenset[str]


class Network(Protocol):
    """What EMR looks at."""

    def subnet(self, identifier: str) -> Subnet | None:
        """Returns a subnet; None if there is none of that id."""
        ...

    def group(self, identifier: str) -> Group | None:
        """Returns a security group; None if there is none of that id."""
        ...

    def cidr(self, vpc: str) -> str:
        """Returns the addresses of a network."""
        ...

    def endpoints(self, vpc: str) -> Sequence[Endpoint]:
        """Returns the interface endpoints of a network."""
        ...

    def has_managed_policy(self, role: str) -> bool:
        """Whether a role has AmazonEMRServicePolicy_v2."""
        ...


def refusal(request: Request, region: str, network: Network) -> str | None:
    """Returns why EMR would end a cluster before its instances start, or None.

    Args:
        request: The RunJobFlow request.
        region: Region of the cluster.
        network: The account's network.
    """
    return next(_refusals(request, region, network), None)


def _refusals(request: Request, region: str, network: Network) -> Iterator[str]:
    instances = request.get("Instances") or {}
    named = instances.get("Ec2SubnetIds") or [instances.get("Ec2SubnetId")]
    identifiers = [each for each in named if each]
    ids = {name: instances[name] for name in (_PRIMARY, _WORKERS, _SERVICE) if instances.get(name)}
    if not identifiers and not ids:
        return  # EMR chooses the default network and creates groups in it.
    subnets: dict[str, Subnet] = {}
    for identifier in identifiers:
        subnet = network.subnet(identifier)
        if subnet is None:
            yield f"The subnet {identifier} does not exist."
            return
        subnets[identifier] = subnet
    groups: dict[str, Group] = {}
    for name, identifier in ids.items():
        group = network.group(identifier)
        if group is None:
            yield f"The security group {identifier} of {name} does not exist."
            return
        groups[name] = group
    if network.has_managed_policy(str(request.get("ServiceRole"))):
        yield from _untagged(request, subnets, ids, groups)
    private = [each for each in subnets.values() if not each.public]
    if private and _PRIMARY in ids:
        yield from _of_private_subnets(request, region, private[0].vpc, ids, groups, network)


def _untagged(
    request: Request,
    subnets: Mapping[str, Subnet],
    ids: Mapping[str, str],
    groups: Mapping[str, Group],
) -> Iterator[str]:
    tags = {each.get("Key"): each.get("Value") for each in request.get("Tags") or []}
    if tags.get(TAG) != "true":
        yield _without_tag("the cluster")
    for identifier, subnet in subnets.items():
        if subnet.tags.get(TAG) != "true":
            yield _without_tag(f"the subnet {identifier}")
    for name, group in groups.items():
        if group.tags.get(TAG) != "true":
            yield _without_tag(f"{name} {ids[name]}")


def _without_tag(what: str) -> str:
    return (
        f"Service role has insufficient EC2 permissions: {what} lacks the tag {TAG} = true, which "
        "AmazonEMRServicePolicy_v2 demands"
    )


def _of_private_subnets(
    request: Request,
    region: str,
    vpc: str,
    ids: Mapping[str, str],
    groups: Mapping[str, Group],
    network: Network,
) -> Iterator[str]:
    if _SERVICE not in ids:
        yield f"{_SERVICE} is required for a cluster in a private subnet."
        return
    service, primary = groups[_SERVICE], groups[_PRIMARY]
    if not str(request.get("ReleaseLabel")).startswith("emr-spark-"):
        if not _admits(service.inbound, 9443, group=ids[_PRIMARY]):
            yield f"{_SERVICE} is missing ingress rule from {_PRIMARY} on port 9443"
        for name in (_PRIMARY, _WORKERS):
            if name in ids and not _admits(service.outbound, 8443, group=ids[name]):
                yield f"{_SERVICE} is missing egress rule to {name} on port 8443"
        return
    cidr = network.cidr(vpc)
    wanted = f"aws.api.{region}.emr-service-cell01"
    endpoint = next((each for each in network.endpoints(vpc) if each.service == wanted), None)
    if endpoint is None or not endpoint.private_dns:
        yield f"The network {vpc} has no interface endpoint for {wanted} with private DNS"
    elif ids[_SERVICE] not in endpoint.groups:
        yield f"The endpoint for {wanted} does not have {_SERVICE} {ids[_SERVICE]}"
    if not _admits(service.inbound, _HTTPS, cidr=cidr):
        yield f"{_SERVICE} is missing ingress rule from {cidr} on port {_HTTPS}"
    if not _admits(primary.outbound, _HTTPS, group=ids[_SERVICE]):
        yield f"{_PRIMARY} is missing egress rule to {_SERVICE} on port {_HTTPS}"


def _admits(
    rules: Sequence[Mapping[str, Any]], port: int, *, group: str | None = None, cidr: str = ""
) -> bool:
    """Whether a rule admits TCP at a port, for a group or all of some addresses."""
    return any(
        _has_port(rule, port)
        and (
            any(each.get("GroupId") == group for each in rule.get("UserIdGroupPairs") or [])
            if group
            else any(_covers(each["CidrIp"], cidr) for each in rule.get("IpRanges") or [])
        )
        for rule in rules
    )


def _has_port(rule: Mapping[str, Any], port: int) -> bool:
    if rule.get("IpProtocol") == "-1":
        return True
    return rule.get("IpProtocol") == "tcp" and rule["FromPort"] <= port <= rule["ToPort"]


def _covers(wide: str, narrow: str) -> bool:
    return ipaddress.IPv4Network(narrow).subnet_of(ipaddress.IPv4Network(wide))

"""The account's network, as EC2 and IAM of this LocalStack describe it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from localstack_emr_msk.calls import Caller
from localstack_emr_msk.emr.network import Endpoint, Group, Subnet

_POLICY = "AmazonEMRServicePolicy_v2"


class Ec2Network:
    """Reads the network with the account of a cluster."""

    def __init__(self, endpoint: str, caller: Caller) -> None:
        self._endpoint = endpoint
        # Its own session: boto3's default session is not thread-safe.
        self._session = boto3.session.Session(
            # LocalStack uses the key's id as the account.
            aws_access_key_id=caller.account,
            aws_secret_access_key="none",
            region_name=caller.region,
        )

    @cached_property
    def _ec2(self) -> Any:
        return self._client("ec2")

    @cached_property
    def _iam(self) -> Any:
        return self._client("iam")

    def _client(self, service: str) -> Any:
        config = Config(retries={"total_max_attempts": 2})
        return self._session.client(service, endpoint_url=self._endpoint, config=config)

    def subnet(self, identifier: str) -> Subnet | None:
        """Returns a subnet; None if there is none of that id."""
        try:
            found = self._ec2.describe_subnets(SubnetIds=[identifier])["Subnets"]
        except ClientError:
            return None
        return Subnet(found[0]["VpcId"], self._is_public(found[0]), _tags(found[0].get("Tags")))

    def _is_public(self, subnet: Mapping[str, Any]) -> bool:
        """Whether a route leads to an internet gateway, in its own table or the network's main."""
        vpc = [{"Name": "vpc-id", "Values": [subnet["VpcId"]]}]
        tables = self._ec2.describe_route_tables(Filters=vpc)["RouteTables"]
        own, main = [], []
        for table in tables:
            for association in table["Associations"]:
                if association.get("SubnetId") == subnet["SubnetId"]:
                    own.append(table)
                elif association.get("Main"):
                    main.append(table)
        return any(
            str(route.get("GatewayId")).startswith("igw-")
            for table in own or main
            for route in table["Routes"]
        )

    def group(self, identifier: str) -> Group | None:
        """Returns a security group; None if there is none of that id."""
        try:
            found = self._ec2.describe_security_groups(GroupIds=[identifier])["SecurityGroups"]
        except ClientError:
            return None
        return Group(
            found[0]["IpPermissions"],
            found[0]["IpPermissionsEgress"],
            _tags(found[0].get("Tags")),
        )

    def cidr(self, vpc: str) -> str:
        """Returns the addresses of a network."""
        return str(self._ec2.describe_vpcs(VpcIds=[vpc])["Vpcs"][0]["CidrBlock"])

    def endpoints(self, vpc: str) -> Sequence[Endpoint]:
        """Returns the interface endpoints of a network."""
        filters = [{"Name": "vpc-id", "Values": [vpc]}]
        found = self._ec2.describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
        return [
            Endpoint(
                each["ServiceName"],
                bool(each.get("PrivateDnsEnabled")),
                frozenset(group["GroupId"] for group in each.get("Groups") or []),
            )
            for each in found
            if each.get("VpcEndpointType") == "Interface"
        ]

    def has_managed_policy(self, role: str) -> bool:
        """Whether a role, by name or ARN, has AmazonEMRServicePolicy_v2."""
        try:
            found = self._iam.list_attached_role_policies(RoleName=role.rpartition("/")[2])
        except ClientError:
            return False
        return any(each["PolicyName"] == _POLICY for each in found["AttachedPolicies"])


def _tags(found: Sequence[Mapping[str, str]] | None) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in found or []}

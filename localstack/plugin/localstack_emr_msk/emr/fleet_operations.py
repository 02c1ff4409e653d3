"""EMR's operations on instance fleets, instance groups and instances.

Capacities are stored but have no effect: a cluster is this one machine.
"""

from collections.abc import Sequence

from localstack_emr_msk.calls import Caller, Request, Response
from localstack_emr_msk.emr.cluster import Cluster
from localstack_emr_msk.emr.fleets import Fleet, state_of
from localstack_emr_msk.emr.registry import Registry, page
from localstack_emr_msk.emr.requests import EXCLUSIVE, check_fleet, check_group, check_roles
from localstack_emr_msk.errors import invalid_request, validation

# Terraform's provider recognises a fleet that ended with its cluster by this code and message:
# https://github.com/hashicorp/terraform-provider-aws/blob/v5.100.0/internal/service/emr/instance_fleet.go
_FLEET_OF_THE_PAST = (
    "An instance fleet may only be modified when the cluster is running or waiting."
)


class FleetOperations:
    """Part of ``EmrProvider``."""

    registry: Registry

    def list_instance_fleets(self, caller: Caller, request: Request) -> Response:
        """Lists the fleets of a cluster with fleets."""
        cluster = self._cluster(caller, request["ClusterId"], fleets=True)
        return page(
            "InstanceFleets", [each.view(cluster.state) for each in cluster.fleets], request
        )

    def add_instance_fleet(self, caller: Caller, request: Request) -> Response:
        """Adds a task fleet."""
        cluster = self._cluster(caller, request["ClusterId"], fleets=True)
        config = dict(request["InstanceFleet"])
        check_fleet(config)
        with cluster.changed:
            cluster.check_modifiable()
            kind = config.get("InstanceFleetType")
            if any(each.role == kind for each in cluster.fleets):
                raise validation(f"The cluster has an instance fleet of type {kind} already.")
            fleet = Fleet(config, fleets=True)
            cluster.fleets.append(fleet)
        return {
            "ClusterId": cluster.id,
            "InstanceFleetId": fleet.id,
            "ClusterArn": cluster.arn,
        }

    def modify_instance_fleet(self, caller: Caller, request: Request) -> Response:
        """Changes target capacities."""
        cluster = self._cluster(caller, request["ClusterId"], fleets=True)
        change = request["InstanceFleet"]
        with cluster.changed:
            if not cluster.modifiable:
                raise invalid_request(_FLEET_OF_THE_PAST)
            fleet = _fleet(cluster, change["InstanceFleetId"])
            on_demand = change.get("TargetOnDemandCapacity")
            spot = change.get("TargetSpotCapacity")
            asked = {
                "TargetOnDemandCapacity": fleet.on_demand if on_demand is None else on_demand,
                "TargetSpotCapacity": fleet.spot if spot is None else spot,
            }
            check_fleet(fleet.config | asked)
            fleet.resize(on_demand, spot)
        return {}

    def list_instance_groups(self, caller: Caller, request: Request) -> Response:
        """Lists the groups of a cluster with groups."""
        cluster = self._cluster(caller, request["ClusterId"], fleets=False)
        return page(
            "InstanceGroups", [each.view(cluster.state) for each in cluster.fleets], request
        )

    def add_instance_groups(self, caller: Caller, request: Request) -> Response:
        """Adds task groups."""
        cluster = self._cluster(caller, request["JobFlowId"], fleets=False)
        for each in request["InstanceGroups"]:
            check_group(each)
        with cluster.changed:
            cluster.check_modifiable()
            groups = [Fleet(dict(each), fleets=False) for each in request["InstanceGroups"]]
            check_roles([each.role for each in [*cluster.fleets, *groups]], fleets=False)
            cluster.fleets.extend(groups)
        ids = [each.id for each in groups]
        return {"JobFlowId": cluster.id, "InstanceGroupIds": ids, "ClusterArn": cluster.arn}

    def modify_instance_groups(self, caller: Caller, request: Request) -> Response:
        """Changes instance counts or configurations."""
        named = request.get("ClusterId")
        if named is None:
            clusters = self.registry.clusters(caller)
        else:
            clusters = [self._cluster(caller, named, fleets=False)]
        changes = request.get("InstanceGroups") or []
        found = [_group(clusters, each["InstanceGroupId"]) for each in changes]
        # All or none: validate before changing anything.
        for (cluster, group), change in zip(found, changes, strict=True):
            cluster.check_modifiable()
            if change.get("InstanceCount") is not None:
                check_group(group.config | {"InstanceCount": change["InstanceCount"]})
        for (cluster, group), change in zip(found, changes, strict=True):
            _modify_group(cluster, group, change)
        return {}

    def list_instances(self, caller: Caller, request: Request) -> Response:
        """Lists instances by state, fleet, group or role."""
        cluster = self.registry.described(caller, request["ClusterId"])
        wanted = request.get("InstanceStates")
        ids = {request.get("InstanceFleetId"), request.get("InstanceGroupId")} - {None}
        roles = set(request.get("InstanceGroupTypes") or [])
        roles |= {request.get("InstanceFleetType")} - {None}
        found = [
            instance
            for fleet in cluster.fleets
            if (not ids or fleet.id in ids) and (not roles or fleet.role in roles)
            for instance in fleet.instance_views(cluster.state)
        ]
        if wanted and state_of(cluster.state) not in wanted:
            found = []
        return page("Instances", found, request)

    def _cluster(self, caller: Caller, identifier: str, *, fleets: bool) -> Cluster:
        cluster = self.registry.described(caller, identifier)
        if cluster.fleets[0].fleets != fleets:
            has = "instance groups" if fleets else "instance fleets"
            raise invalid_request(
                f"{EXCLUSIVE} The EMR cluster specified in the request uses {has}."
            )
        return cluster


def _group(clusters: Sequence[Cluster], identifier: str) -> tuple[Cluster, Fleet]:
    for cluster in clusters:
        for fleet in cluster.fleets:
            if fleet.id == identifier and not fleet.fleets:
                return cluster, fleet
    raise invalid_request(f"Instance group id '{identifier}' is not valid.")


def _fleet(cluster: Cluster, identifier: str) -> Fleet:
    for fleet in cluster.fleets:
        if fleet.id == identifier:
            return fleet
    raise invalid_request(f"Instance fleet id '{identifier}' is not valid.")


def _modify_group(cluster: Cluster, group: Fleet, change: Request) -> None:
    with cluster.changed:
        cluster.check_modifiable()
        group.resize(change.get("InstanceCount"), None)
        if change.get("Configurations") is not None:
            group.config["Configurations"] = change["Configurations"]

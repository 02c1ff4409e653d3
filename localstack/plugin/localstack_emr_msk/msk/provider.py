"""MSK's operations: clusters, their changes, and tags. ``configurations`` holds the others.

Clusters are active immediately, and updates complete immediately. Each public method is the
operation of that name in botocore.
"""

import os
import re
import uuid
from collections.abc import Mapping
from typing import Any

from localstack_emr_msk.calls import Caller, Request, Response, now, present
from localstack_emr_msk.errors import ServiceError
from localstack_emr_msk.msk.configurations import Configurations, bad_request, missing, owns
from localstack_emr_msk.msk.rules import type_error, version_error
from localstack_emr_msk.msk.views import MskCluster, version

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,63}")


class MskProvider(Configurations):
    """The operations of MSK that are supported.

    Args:
        variables: Environment variables with the broker addresses (README.md).
    """

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._variables = variables
        self._clusters: dict[str, MskCluster] = {}
        self._operations: dict[str, Response] = {}

    # ---- clusters

    def create_cluster(self, caller: Caller, request: Request) -> Response:
        """Creates a provisioned cluster."""
        body = {k: v for k, v in request.items() if k not in ("ClusterName", "Tags")}
        cluster = self._create(caller, request, body, serverless=False)
        return {"ClusterArn": cluster.arn, "ClusterName": cluster.name, "State": "CREATING"}

    def create_cluster_v2(self, caller: Caller, request: Request) -> Response:
        """Creates a provisioned or serverless cluster."""
        serverless = request.get("Serverless") is not None
        body = dict(request.get("Serverless") or request.get("Provisioned") or {})
        cluster = self._create(caller, request, body, serverless=serverless)
        return {
            "ClusterArn": cluster.arn,
            "ClusterName": cluster.name,
            "ClusterType": "SERVERLESS" if serverless else "PROVISIONED",
            "State": "CREATING",
        }

    def _create(
        self, caller: Caller, request: Request, body: dict[str, Any], *, serverless: bool
    ) -> MskCluster:
        name = request["ClusterName"]
        if not _NAME.fullmatch(name):
            raise bad_request(f"The cluster name '{name}' is not valid.")
        if any(each.name == name for each in self._mine(caller)):
            raise ServiceError(
                "ConflictException", "A resource with this name already exists.", 409
            )
        if not serverless:
            subnets = (body.get("BrokerNodeGroupInfo") or {}).get("ClientSubnets") or []
            if not subnets or (body.get("NumberOfBrokerNodes") or 0) % len(subnets):
                raise bad_request(
                    "The number of broker nodes must be a multiple of Availability Zones in the "
                    "Client Subnets parameter."
                )
            nodes = body.get("BrokerNodeGroupInfo") or {}
            _check_broker(body.get("KafkaVersion"), nodes.get("InstanceType"))
            self.check_configuration(caller, body.get("ConfigurationInfo"))
        arn = f"arn:aws:kafka:{caller.region}:{caller.account}:cluster/{name}/{uuid.uuid4()}-1"
        tags = dict(request.get("Tags") or {})
        self._clusters[arn] = MskCluster(arn, name, serverless, body, tags)
        return self._clusters[arn]

    def describe_cluster(self, caller: Caller, request: Request) -> Response:
        """Describes a cluster."""
        return {"ClusterInfo": self._cluster(caller, request["ClusterArn"]).first()}

    def describe_cluster_v2(self, caller: Caller, request: Request) -> Response:
        """Describes a cluster."""
        return {"ClusterInfo": self._cluster(caller, request["ClusterArn"]).second()}

    def list_clusters(self, caller: Caller, request: Request) -> Response:
        """Lists provisioned clusters, by name prefix."""
        begins = request.get("ClusterNameFilter") or ""
        found = [each for each in self._mine(caller) if each.name.startswith(begins)]
        return {"ClusterInfoList": [each.first() for each in found if not each.serverless]}

    def list_clusters_v2(self, caller: Caller, request: Request) -> Response:
        """Lists clusters, by type and name prefix."""
        begins, kind = request.get("ClusterNameFilter") or "", request.get("ClusterTypeFilter")
        found = [each.second() for each in self._mine(caller) if each.name.startswith(begins)]
        kept = [each for each in found if kind is None or each["ClusterType"] == kind.upper()]
        return {"ClusterInfoList": kept}

    def delete_cluster(self, caller: Caller, request: Request) -> Response:
        """Deletes the record; the Kafka behind it stays."""
        cluster = self._cluster(caller, request["ClusterArn"])
        self._check_version(cluster, request)
        del self._clusters[cluster.arn]
        return {"ClusterArn": cluster.arn, "State": "DELETING"}

    def get_bootstrap_brokers(self, caller: Caller, request: Request) -> Response:
        """Returns the bootstrap brokers."""
        return self._cluster(caller, request["ClusterArn"]).brokers(self._variables)

    def list_nodes(self, caller: Caller, request: Request) -> Response:
        """Lists as many brokers as requested, although there is only one."""
        cluster = self._cluster(caller, request["ClusterArn"])
        body = provisioned_nodes(cluster)
        return {
            "NodeInfoList": [
                {
                    "NodeType": "BROKER",
                    "NodeARN": cluster.arn.replace(":cluster/", ":node/") + f"/{number}",
                    "InstanceType": body.get("InstanceType"),
                    "BrokerNodeInfo": {"BrokerId": float(number), "Endpoints": ["127.0.0.1"]},
                }
                for number in range(1, (cluster.body.get("NumberOfBrokerNodes") or 0) + 1)
            ]
        }

    # ---- updates

    def update_broker_count(self, caller: Caller, request: Request) -> Response:
        """Changes the number of brokers."""
        wanted = request["TargetNumberOfBrokerNodes"]
        return self._update(caller, request, NumberOfBrokerNodes=wanted)

    def update_broker_type(self, caller: Caller, request: Request) -> Response:
        """Changes the instance type."""
        cluster = self._cluster(caller, request["ClusterArn"])
        _check_broker(cluster.body.get("KafkaVersion"), request["TargetInstanceType"])
        nodes = provisioned_nodes(cluster)
        changed = {**nodes, "InstanceType": request["TargetInstanceType"]}
        return self._update(caller, request, BrokerNodeGroupInfo=changed)

    def update_broker_storage(self, caller: Caller, request: Request) -> Response:
        """Changes the volume size."""
        nodes = provisioned_nodes(self._cluster(caller, request["ClusterArn"]))
        size = request["TargetBrokerEBSVolumeInfo"][0]["VolumeSizeGB"]
        storage = {"EbsStorageInfo": {"VolumeSize": size}}
        return self._update(caller, request, BrokerNodeGroupInfo={**nodes, "StorageInfo": storage})

    def update_cluster_configuration(self, caller: Caller, request: Request) -> Response:
        """Changes the configuration or its revision."""
        self.check_configuration(caller, request["ConfigurationInfo"])
        return self._update(caller, request, ConfigurationInfo=request["ConfigurationInfo"])

    def update_cluster_kafka_version(self, caller: Caller, request: Request) -> Response:
        """Changes the recorded version of Kafka."""
        kind = provisioned_nodes(self._cluster(caller, request["ClusterArn"])).get("InstanceType")
        _check_broker(request["TargetKafkaVersion"], kind)
        self.check_configuration(caller, request.get("ConfigurationInfo"))
        return self._update(
            caller,
            request,
            KafkaVersion=request["TargetKafkaVersion"],
            ConfigurationInfo=request.get("ConfigurationInfo"),
        )

    def update_monitoring(self, caller: Caller, request: Request) -> Response:
        """Changes monitoring and logging."""
        keys = ("EnhancedMonitoring", "OpenMonitoring", "LoggingInfo")
        return self._update(caller, request, **{key: request.get(key) for key in keys})

    def update_security(self, caller: Caller, request: Request) -> Response:
        """Changes client authentication."""
        keys = ("ClientAuthentication", "EncryptionInfo")
        return self._update(caller, request, **{key: request.get(key) for key in keys})

    def describe_cluster_operation(self, caller: Caller, request: Request) -> Response:
        """Describes an update, which is always complete."""
        arn = request["ClusterOperationArn"]
        if arn not in self._operations or not owns(caller, arn):
            raise missing("Operation")
        return {"ClusterOperationInfo": self._operations[arn]}

    def _update(self, caller: Caller, request: Request, **changes: Any) -> Response:
        cluster = self._cluster(caller, request["ClusterArn"])
        self._check_version(cluster, request)
        cluster.body |= present(changes)
        cluster.version = version()
        arn = cluster.arn.replace(":cluster/", ":cluster-operation/") + f"/{uuid.uuid4()}"
        self._operations[arn] = {
            "ClusterArn": cluster.arn,
            "OperationArn": arn,
            "OperationState": "UPDATE_COMPLETE",
            "OperationType": "UPDATE",
            "CreationTime": now(),
            "EndTime": now(),
        }
        return {"ClusterArn": cluster.arn, "ClusterOperationArn": arn}

    # ---- policies, secrets, tags

    def put_cluster_policy(self, caller: Caller, request: Request) -> Response:
        """Stores the cluster policy, which has no effect here."""
        cluster = self._cluster(caller, request["ClusterArn"])
        cluster.policy = request["Policy"]
        return {"CurrentVersion": cluster.version}

    def get_cluster_policy(self, caller: Caller, request: Request) -> Response:
        """Returns the cluster policy."""
        cluster = self._cluster(caller, request["ClusterArn"])
        if cluster.policy is None:
            raise missing("Cluster policy")
        return {"CurrentVersion": cluster.version, "Policy": cluster.policy}

    def delete_cluster_policy(self, caller: Caller, request: Request) -> Response:
        """Deletes the cluster policy."""
        self._cluster(caller, request["ClusterArn"]).policy = None
        return {}

    def list_scram_secrets(self, caller: Caller, request: Request) -> Response:
        """Lists no secrets, since none can be associated here."""
        self._cluster(caller, request["ClusterArn"])
        return {"SecretArnList": []}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Response:
        """Lists the tags of a cluster or configuration."""
        return {"Tags": dict(self._tags(caller, request["ResourceArn"]))}

    def tag_resource(self, caller: Caller, request: Request) -> Response:
        """Adds tags."""
        self._tags(caller, request["ResourceArn"]).update(request["Tags"])
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Response:
        """Removes tags."""
        for key in request["TagKeys"]:
            self._tags(caller, request["ResourceArn"]).pop(key, None)
        return {}

    def _tags(self, caller: Caller, arn: str) -> dict[str, str]:
        if ":configuration/" in arn:
            return self._configuration(caller, arn).tags
        return self._cluster(caller, arn).tags

    # ---- lookup

    def in_use(self, configuration: str) -> bool:
        """Whether a cluster uses a configuration."""
        return any(
            (each.body.get("ConfigurationInfo") or {}).get("Arn") == configuration
            for each in self._clusters.values()
        )

    def _mine(self, caller: Caller) -> list[MskCluster]:
        return [each for each in self._clusters.values() if owns(caller, each.arn)]

    def _cluster(self, caller: Caller, arn: str) -> MskCluster:
        if arn not in self._clusters or not owns(caller, arn):
            raise missing(f"Cluster {arn}")
        return self._clusters[arn]

    @staticmethod
    def _check_version(cluster: MskCluster, request: Request) -> None:
        named = request.get("CurrentVersion")
        if named is not None and named != cluster.version:
            raise bad_request(
                "The version of the cluster isn't current. Check the current version."
            )


def provisioned_nodes(cluster: MskCluster) -> dict[str, Any]:
    """Returns the node type of a provisioned cluster's brokers."""
    return dict(cluster.body.get("BrokerNodeGroupInfo") or {})


def _check_broker(version: str | None, kind: str | None) -> None:
    """Raises ``ServiceError`` for a version of Kafka or a broker type that MSK does not have."""
    wrong = version_error(version) or type_error(version, kind)
    if wrong is not None:
        raise bad_request(wrong)

"""MSK's operations: clusters, their changes, and tags. ``configurations`` holds the others.

Clusters are there at once, and changes are complete at once. Each public method is the operation of
that name, as botocore writes it.
"""

import os
import re
import uuid
from collections.abc import Mapping
from typing import Any

from localstack_emr_msk.calls import Caller, Request, Response, now, present
from localstack_emr_msk.errors import ServiceError
from localstack_emr_msk.msk.configurations import Configurations, bad_request, missing, owns
from localstack_emr_msk.msk.views import MskCluster, version

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,63}")


class MskProvider(Configurations):
    """All of MSK that is here.

    Args:
        variables: The environment, which names the brokers (README.md).
    """

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._variables = variables
        self._clusters: dict[str, MskCluster] = {}
        self._operations: dict[str, Response] = {}

    # ---- clusters

    def create_cluster(self, caller: Caller, request: Request) -> Response:
        """A provisioned cluster."""
        body = {k: v for k, v in request.items() if k not in ("ClusterName", "Tags")}
        cluster = self._create(caller, request, body, serverless=False)
        return {"ClusterArn": cluster.arn, "ClusterName": cluster.name, "State": "CREATING"}

    def create_cluster_v2(self, caller: Caller, request: Request) -> Response:
        """A provisioned or serverless cluster."""
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
            self.check_configuration(caller, body.get("ConfigurationInfo"))
        arn = f"arn:aws:kafka:{caller.region}:{caller.account}:cluster/{name}/{uuid.uuid4()}-1"
        tags = dict(request.get("Tags") or {})
        self._clusters[arn] = MskCluster(arn, name, serverless, body, tags)
        return self._clusters[arn]

    def describe_cluster(self, caller: Caller, request: Request) -> Response:
        """All about a cluster."""
        return {"ClusterInfo": self._cluster(caller, request["ClusterArn"]).first()}

    def describe_cluster_v2(self, caller: Caller, request: Request) -> Response:
        """All about a cluster."""
        return {"ClusterInfo": self._cluster(caller, request["ClusterArn"]).second()}

    def list_clusters(self, caller: Caller, request: Request) -> Response:
        """Provisioned ones, by the beginning of their name."""
        begins = request.get("ClusterNameFilter") or ""
        found = [each for each in self._mine(caller) if each.name.startswith(begins)]
        return {"ClusterInfoList": [each.first() for each in found if not each.serverless]}

    def list_clusters_v2(self, caller: Caller, request: Request) -> Response:
        """All, by kind and the beginning of their name."""
        begins, kind = request.get("ClusterNameFilter") or "", request.get("ClusterTypeFilter")
        found = [each.second() for each in self._mine(caller) if each.name.startswith(begins)]
        kept = [each for each in found if kind is None or each["ClusterType"] == kind.upper()]
        return {"ClusterInfoList": kept}

    def delete_cluster(self, caller: Caller, request: Request) -> Response:
        """Takes it away; the Kafka behind it stays."""
        cluster = self._cluster(caller, request["ClusterArn"])
        self._check_version(cluster, request)
        del self._clusters[cluster.arn]
        return {"ClusterArn": cluster.arn, "State": "DELETING"}

    def get_bootstrap_brokers(self, caller: Caller, request: Request) -> Response:
        """Where clients begin."""
        return self._cluster(caller, request["ClusterArn"]).brokers(self._variables)

    def list_nodes(self, caller: Caller, request: Request) -> Response:
        """As many brokers as were asked for, though one stands behind them."""
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

    # ---- changes

    def update_broker_count(self, caller: Caller, request: Request) -> Response:
        """More brokers."""
        wanted = request["TargetNumberOfBrokerNodes"]
        return self._update(caller, request, NumberOfBrokerNodes=wanted)

    def update_broker_type(self, caller: Caller, request: Request) -> Response:
        """Other instances."""
        nodes = provisioned_nodes(self._cluster(caller, request["ClusterArn"]))
        changed = {**nodes, "InstanceType": request["TargetInstanceType"]}
        return self._update(caller, request, BrokerNodeGroupInfo=changed)

    def update_broker_storage(self, caller: Caller, request: Request) -> Response:
        """Larger volumes."""
        nodes = provisioned_nodes(self._cluster(caller, request["ClusterArn"]))
        size = request["TargetBrokerEBSVolumeInfo"][0]["VolumeSizeGB"]
        storage = {"EbsStorageInfo": {"VolumeSize": size}}
        return self._update(caller, request, BrokerNodeGroupInfo={**nodes, "StorageInfo": storage})

    def update_cluster_configuration(self, caller: Caller, request: Request) -> Response:
        """Another configuration, or another revision of it."""
        self.check_configuration(caller, request["ConfigurationInfo"])
        return self._update(caller, request, ConfigurationInfo=request["ConfigurationInfo"])

    def update_cluster_kafka_version(self, caller: Caller, request: Request) -> Response:
        """Another Kafka, in name."""
        self.check_configuration(caller, request.get("ConfigurationInfo"))
        return self._update(
            caller,
            request,
            KafkaVersion=request["TargetKafkaVersion"],
            ConfigurationInfo=request.get("ConfigurationInfo"),
        )

    def update_monitoring(self, caller: Caller, request: Request) -> Response:
        """What is measured and logged."""
        keys = ("EnhancedMonitoring", "OpenMonitoring", "LoggingInfo")
        return self._update(caller, request, **{key: request.get(key) for key in keys})

    def update_security(self, caller: Caller, request: Request) -> Response:
        """How clients show who they are."""
        keys = ("ClientAuthentication", "EncryptionInfo")
        return self._update(caller, request, **{key: request.get(key) for key in keys})

    def describe_cluster_operation(self, caller: Caller, request: Request) -> Response:
        """A change, which is complete."""
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
        """Who else may use it; kept, and told again."""
        cluster = self._cluster(caller, request["ClusterArn"])
        cluster.policy = request["Policy"]
        return {"CurrentVersion": cluster.version}

    def get_cluster_policy(self, caller: Caller, request: Request) -> Response:
        """Who else may use it."""
        cluster = self._cluster(caller, request["ClusterArn"])
        if cluster.policy is None:
            raise missing("Cluster policy")
        return {"CurrentVersion": cluster.version, "Policy": cluster.policy}

    def delete_cluster_policy(self, caller: Caller, request: Request) -> Response:
        """Nobody else."""
        self._cluster(caller, request["ClusterArn"]).policy = None
        return {}

    def list_scram_secrets(self, caller: Caller, request: Request) -> Response:
        """Secrets of users with passwords: none, as none can be associated here."""
        self._cluster(caller, request["ClusterArn"])
        return {"SecretArnList": []}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Response:
        """Tags of a cluster or configuration."""
        return {"Tags": dict(self._tags(caller, request["ResourceArn"]))}

    def tag_resource(self, caller: Caller, request: Request) -> Response:
        """Adds tags."""
        self._tags(caller, request["ResourceArn"]).update(request["Tags"])
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Response:
        """Takes tags away."""
        for key in request["TagKeys"]:
            self._tags(caller, request["ResourceArn"]).pop(key, None)
        return {}

    def _tags(self, caller: Caller, arn: str) -> dict[str, str]:
        if ":configuration/" in arn:
            return self._configuration(caller, arn).tags
        return self._cluster(caller, arn).tags

    # ---- what there is

    def in_use(self, configuration: str) -> bool:
        """Whether a cluster has a configuration."""
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
    """What a provisioned cluster's brokers are."""
    return dict(cluster.body.get("BrokerNodeGroupInfo") or {})

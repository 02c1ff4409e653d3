"""MSK clusters: their stored state, and their form in responses."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localstack_emr_msk.calls import Response, now, present

# Environment variable per authentication method, and its port on MSK:
# https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html
_WAYS = {
    "BootstrapBrokerString": ("LOCAL_MSK_BROKERS", 9092),
    "BootstrapBrokerStringTls": ("LOCAL_MSK_BROKERS_TLS", 9094),
    "BootstrapBrokerStringSaslScram": ("LOCAL_MSK_BROKERS_SASL_SCRAM", 9096),
    "BootstrapBrokerStringSaslIam": ("LOCAL_MSK_BROKERS_SASL_IAM", 9098),
}


def version() -> str:
    """Returns a new version id; updates must name the current one."""
    return "K" + uuid.uuid4().hex[:13].upper()


@dataclass
class MskCluster:
    """A cluster; ``body`` is its request with later updates."""

    arn: str
    name: str
    serverless: bool
    body: dict[str, Any]
    tags: dict[str, str]
    version: str = field(default_factory=version)
    created: datetime = field(default_factory=now)
    policy: str | None = None

    def first(self) -> Response:
        """Returns it in the form of operations without V2."""
        return self._common() | provisioned(self.body)

    def second(self) -> Response:
        """Returns it in the form of operations with V2."""
        kind = "SERVERLESS" if self.serverless else "PROVISIONED"
        body = self.body if self.serverless else provisioned(self.body)
        return self._common() | {"ClusterType": kind, kind.capitalize(): body}

    def _common(self) -> Response:
        return {
            "ClusterArn": self.arn,
            "ClusterName": self.name,
            "CreationTime": self.created,
            "CurrentVersion": self.version,
            "State": "ACTIVE",
            "Tags": dict(self.tags),
        }

    def brokers(self, variables: Mapping[str, str]) -> Response:
        """Returns the bootstrap brokers for each authentication method of the cluster."""
        encryption = (self.body.get("EncryptionInfo") or {}).get("EncryptionInTransit") or {}
        transit = encryption.get("ClientBroker") or "TLS"
        authentication = self.body.get("ClientAuthentication") or {}
        sasl = authentication.get("Sasl") or {}
        without = (authentication.get("Unauthenticated") or {}).get("Enabled")
        tls = (authentication.get("Tls") or {}).get("Enabled")
        iam = (sasl.get("Iam") or {}).get("Enabled")
        scram = (sasl.get("Scram") or {}).get("Enabled")
        # Without client authentication in the request, the cluster is open.
        without = without or not (tls or iam or scram)
        offered = {
            "BootstrapBrokerString": without and "PLAINTEXT" in transit,
            "BootstrapBrokerStringTls": (without or tls) and transit.startswith("TLS"),
            "BootstrapBrokerStringSaslScram": scram,
            "BootstrapBrokerStringSaslIam": iam,
        }
        return {
            name: variables.get(variable) or f"127.0.0.1:{port}"
            for name, (variable, port) in _WAYS.items()
            if offered[name]
        }


def provisioned(body: Mapping[str, Any]) -> Response:
    """Returns a provisioned cluster with MSK's defaults."""
    nodes = dict(body.get("BrokerNodeGroupInfo") or {})
    nodes.setdefault("BrokerAZDistribution", "DEFAULT")
    nodes.setdefault("ConnectivityInfo", {"PublicAccess": {"Type": "DISABLED"}})
    subnets = len(nodes.get("ClientSubnets") or [])
    nodes.setdefault("ZoneIds", [f"use1-az{number}" for number in range(1, subnets + 1)])
    configuration = body.get("ConfigurationInfo") or {}
    return present(
        {
            "BrokerNodeGroupInfo": nodes,
            "ClientAuthentication": body.get("ClientAuthentication"),
            "CurrentBrokerSoftwareInfo": present(
                {
                    "KafkaVersion": body.get("KafkaVersion"),
                    "ConfigurationArn": configuration.get("Arn"),
                    "ConfigurationRevision": configuration.get("Revision"),
                }
            ),
            "EncryptionInfo": body.get("EncryptionInfo"),
            "EnhancedMonitoring": body.get("EnhancedMonitoring") or "DEFAULT",
            "OpenMonitoring": body.get("OpenMonitoring"),
            "LoggingInfo": body.get("LoggingInfo"),
            "NumberOfBrokerNodes": body.get("NumberOfBrokerNodes"),
            "StorageMode": body.get("StorageMode") or "LOCAL",
        }
    )

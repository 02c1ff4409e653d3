"""Clusters of MSK: what is kept of one, and how answers tell it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from localstack_emr_msk.calls import Response, now, present

# What the environment names for each way in, and where MSK has it:
# https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html
_WAYS = {
    "BootstrapBrokerString": ("LOCAL_MSK_BROKERS", 9092),
    "BootstrapBrokerStringTls": ("LOCAL_MSK_BROKERS_TLS", 9094),
    "BootstrapBrokerStringSaslScram": ("LOCAL_MSK_BROKERS_SASL_SCRAM", 9096),
    "BootstrapBrokerStringSaslIam": ("LOCAL_MSK_BROKERS_SASL_IAM", 9098),
}


def version() -> str:
    """A version of a cluster; updates must name the one they mean."""
    return "K" + uuid.uuid4().hex[:13].upper()


@dataclass
class MskCluster:
    """A cluster; ``body`` is what it was asked for, with what was changed later."""

    arn: str
    name: str
    serverless: bool
    body: dict[str, Any]
    tags: dict[str, str]
    version: str = field(default_factory=version)
    created: datetime = field(default_factory=now)
    policy: str | None = None

    def first(self) -> Response:
        """As the operations without V2 tell it."""
        return self._common() | provisioned(self.body)

    def second(self) -> Response:
        """As the operations with V2 tell it."""
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
        """Where clients begin, for each way in that the cluster offers."""
        encryption = (self.body.get("EncryptionInfo") or {}).get("EncryptionInTransit") or {}
        transit = encryption.get("ClientBroker") or "TLS"
        authentication = self.body.get("ClientAuthentication") or {}
        sasl = authentication.get("Sasl") or {}
        without = (authentication.get("Unauthenticated") or {}).get("Enabled")
        tls = (authentication.get("Tls") or {}).get("Enabled")
        iam = (sasl.get("Iam") or {}).get("Enabled")
        scram = (sasl.get("Scram") or {}).get("Enabled")
        # A cluster for which nobody said how clients show who they are lets them in without.
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
    """A provisioned cluster, with what MSK fills in."""
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

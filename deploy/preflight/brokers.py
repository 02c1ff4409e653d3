"""Whether MSK has this version of Kafka, on this type of broker."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploy.preflight.finding import Finding, listed
from deploy.preflight.needs import Kafka

if TYPE_CHECKING:
    from types_boto3_kafka import KafkaClient

# Types of brokers: https://docs.aws.amazon.com/msk/latest/developerguide/broker-instance-sizes.html
# That MSK refuses t3 without ZooKeeper is what users report (modules/streaming/variables.tf).
_TYPE = re.compile(r"kafka\.(t3\.small|(m5|m7g)\.(\d+x|x)?large)|express\.m7g\.(\d+x|x)?large")
_WITHOUT_ZOOKEEPER = ".kraft"


def broker_findings(kafka: Kafka, msk: "KafkaClient") -> Iterator[Finding]:
    """Yields a version that MSK lacks or retires, and a broker type that it refuses."""
    if not _TYPE.fullmatch(kafka.instance_type):
        yield Finding(
            f"MSK has no brokers of type {kafka.instance_type}; set kafka.instance_type to "
            "kafka.m7g.large or larger in the environment's values"
        )
    elif kafka.version.endswith(_WITHOUT_ZOOKEEPER) and ".t3." in kafka.instance_type:
        yield Finding(
            f"MSK does not run {kafka.version} on {kafka.instance_type}; set kafka.instance_type "
            "to kafka.m7g.large or larger in the environment's values"
        )
    status = _versions(msk)
    offered = [each for each, state in status.items() if state == "ACTIVE"]
    newest = listed([each for each in offered if each.endswith(_WITHOUT_ZOOKEEPER)][-3:])
    if kafka.version not in status:
        yield Finding(
            f"MSK does not have Kafka {kafka.version} in {msk.meta.region_name}; set kafka.version "
            f"to one that it has, such as {newest}"
        )
    elif kafka.version not in offered:
        yield Finding(
            f"MSK retires Kafka {kafka.version}; set kafka.version to a newer one, such as "
            f"{newest}, soon",
            stops=False,
        )


def _versions(msk: "KafkaClient") -> dict[str, str]:
    """Returns the status of each version, oldest version first."""
    pages = msk.get_paginator("list_kafka_versions").paginate()
    found = {
        each.get("Version", ""): str(each.get("Status", ""))
        for page in pages
        for each in page["KafkaVersions"]
    }
    # x stands for the newest patch.
    return dict(sorted(found.items(), key=lambda pair: _numbers(pair[0])))


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]

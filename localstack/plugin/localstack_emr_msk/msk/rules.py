"""What MSK accepts: versions of Kafka, broker types, and properties of a configuration.

- https://docs.aws.amazon.com/msk/latest/developerguide/supported-kafka-versions.html
- https://docs.aws.amazon.com/msk/latest/developerguide/msk-configuration-properties.html
"""

from collections.abc import Iterator

# Versions that are still supported (2026); those with KRaft are named ….kraft.
# https://docs.aws.amazon.com/cdk/api/v2/docs/@aws-cdk_aws-msk-alpha.KafkaVersion.html
VERSIONS = ("3.8.x", "3.8.x.kraft", "3.9.x", "3.9.x.kraft", "4.0.x.kraft", "4.1.x.kraft")
# Broker types of clusters without ZooKeeper (version ….kraft). AWS's pages do not say that
# kafka.t3.small is missing, but CreateCluster does, as users report with this list; the form of the
# error is also in https://github.com/hashicorp/terraform-provider-aws/issues/35151.
_WITHOUT_ZOOKEEPER = ("express.m7g.", "kafka.m5.", "kafka.m7g.")
_NAMES_OF_PROPERTIES = """
allow.everyone.if.no.acl.found auto.create.topics.enable compression.type
connections.max.idle.ms default.replication.factor delete.topic.enable
group.initial.rebalance.delay.ms group.max.session.timeout.ms group.min.session.timeout.ms
leader.imbalance.per.broker.percentage log.cleaner.delete.retention.ms
log.cleaner.min.cleanable.ratio log.cleanup.policy log.flush.interval.messages
log.flush.interval.ms log.local.retention.bytes log.local.retention.ms
log.message.timestamp.difference.max.ms log.message.timestamp.type log.retention.bytes
log.retention.hours log.retention.minutes log.retention.ms log.roll.ms log.segment.bytes
max.incremental.fetch.session.cache.slots message.max.bytes min.insync.replicas
num.io.threads num.network.threads num.partitions num.recovery.threads.per.data.dir
num.replica.fetchers offsets.retention.minutes offsets.topic.replication.factor
remote.log.msk.disable.policy replica.fetch.max.bytes replica.fetch.response.max.bytes
replica.lag.time.max.ms replica.selector.class replica.socket.receive.buffer.bytes
socket.receive.buffer.bytes socket.request.max.bytes socket.send.buffer.bytes
transaction.max.timeout.ms transaction.state.log.min.isr
transaction.state.log.replication.factor transactional.id.expiration.ms
unclean.leader.election.enable zookeeper.connection.timeout.ms zookeeper.session.timeout.ms
"""
_PROPERTIES = frozenset(_NAMES_OF_PROPERTIES.split())


def version_error(version: str | None) -> str | None:
    """Returns what is wrong with a version of Kafka, or None."""
    if version in VERSIONS:
        return None
    return f"Unsupported KafkaVersion [{version}]. Valid values: [{', '.join(VERSIONS)}]"


def type_error(version: str | None, kind: str | None) -> str | None:
    """Returns what is wrong with a broker type for a version of Kafka, or None."""
    if not (version or "").endswith(".kraft") or (kind or "").startswith(_WITHOUT_ZOOKEEPER):
        return None
    valid = ", ".join(f"{each}*" for each in _WITHOUT_ZOOKEEPER)
    return f"Unsupported InstanceType specified. Valid values: [{valid}]"


def properties_error(content: bytes) -> str | None:
    """Returns what is wrong with the properties of a configuration, or None."""
    return next(_property_errors(content), None)


def _property_errors(content: bytes) -> Iterator[str]:
    for line in content.decode(errors="replace").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, _ = text.partition("=")
        if not equals:
            yield f"The line {text!r} of ServerProperties is not name=value."
        elif name.strip() not in _PROPERTIES:
            yield f"The property {name.strip()} is not one that MSK lets you set."

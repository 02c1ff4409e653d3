"""The addresses of the Kafka brokers: as configured, or looked up in Amazon MSK."""

from functools import cache

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.config import Kafka

# https://docs.aws.amazon.com/msk/1.0/apireference/clusters-clusterarn-bootstrap-brokers.html
_RESPONSE_FIELDS = {
    "plaintext": "BootstrapBrokerString",
    "sasl_ssl": "BootstrapBrokerStringSaslScram",
    "iam": "BootstrapBrokerStringSaslIam",
}
_CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 4})


def brokers_of(kafka: Kafka) -> str:
    """``host:port,host:port``; MSK's brokers may change, so each process looks them up once.

    Raises ``PrerequisiteError`` when the request to MSK fails, ``ConfigError`` when the cluster has
    no listener for the configured security, or when there is no broker at all.
    """
    if not kafka.enabled:
        raise ConfigError(
            "kafka.enabled is false, so there is no broker to produce to or consume from; "
            "superres ingest SOURCE stores the images of a source itself"
        )
    if kafka.cluster_arn is None:
        return kafka.bootstrap_servers
    return _msk_brokers(kafka.cluster_arn, kafka.security)


@cache
def _msk_brokers(cluster_arn: str, security: str) -> str:
    region = cluster_arn.split(":")[3]
    try:
        client = boto3.session.Session().client("kafka", region_name=region, config=_CLIENT_CONFIG)
        response = client.get_bootstrap_brokers(ClusterArn=cluster_arn)
    except (BotoCoreError, ClientError) as error:
        raise PrerequisiteError(
            f"kafka.cluster_arn: cannot look up the brokers of {cluster_arn}: {error}"
        ) from None
    brokers = response.get(_RESPONSE_FIELDS[security])
    if not brokers:
        raise ConfigError(
            f"kafka.security: {security}: {cluster_arn} has no listener for it; "
            "choose the one that the cluster was created with"
        )
    return str(brokers)

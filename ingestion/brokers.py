"""Where the brokers are: as configured, or as Amazon MSK says now."""

from functools import cache

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.config import Kafka

# https://docs.aws.amazon.com/msk/1.0/apireference/clusters-clusterarn-bootstrap-brokers.html
_ANSWERS = {
    "plaintext": "BootstrapBrokerString",
    "sasl_ssl": "BootstrapBrokerStringSaslScram",
    "iam": "BootstrapBrokerStringSaslIam",
}
_PATIENCE = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 4})


def brokers_of(kafka: Kafka) -> str:
    """``host:port,host:port``; what MSK answers does not stay the same for ever.

    Raises ``PrerequisiteError`` when MSK does not tell, ``ConfigError`` when it has no listener for
    the configured security.
    """
    if kafka.cluster_arn is None:
        return kafka.bootstrap_servers
    return _asked(kafka.cluster_arn, kafka.security)


@cache
def _asked(cluster_arn: str, security: str) -> str:
    region = cluster_arn.split(":")[3]
    try:
        client = boto3.session.Session().client("kafka", region_name=region, config=_PATIENCE)
        answer = client.get_bootstrap_brokers(ClusterArn=cluster_arn)
    except (BotoCoreError, ClientError) as error:
        raise PrerequisiteError(
            f"kafka.cluster_arn: MSK does not tell the brokers of {cluster_arn}: {error}"
        ) from None
    brokers = answer.get(_ANSWERS[security])
    if not brokers:
        raise ConfigError(
            f"kafka.security: {security}: {cluster_arn} has no listener for it; "
            "choose the one that the cluster was made with"
        )
    return str(brokers)

"""MSK through boto3: paths, blobs and errors as they come over the wire."""

import uuid
from typing import Any

import pytest

pytestmark = pytest.mark.localstack


def test_a_cluster_with_a_configuration(cloud: Any) -> None:
    kafka = cloud.client("kafka")
    name = f"test-{uuid.uuid4().hex[:8]}"
    made = kafka.create_configuration(Name=name, ServerProperties=b"num.partitions=4")
    output = kafka.describe_configuration_revision(Arn=made["Arn"], Revision=1)
    assert output["ServerProperties"] == b"num.partitions=4"
    arn = kafka.create_cluster(
        ClusterName=name,
        KafkaVersion="3.9.x.kraft",
        NumberOfBrokerNodes=2,
        BrokerNodeGroupInfo={"ClientSubnets": ["a", "b"], "InstanceType": "kafka.m7g.large"},
        ClientAuthentication={"Sasl": {"Iam": {"Enabled": True}}},
        ConfigurationInfo={"Arn": made["Arn"], "Revision": 1},
    )["ClusterArn"]
    found = kafka.describe_cluster_v2(ClusterArn=arn)["ClusterInfo"]["Provisioned"]
    assert found["CurrentBrokerSoftwareInfo"]["ConfigurationArn"] == made["Arn"]
    brokers = kafka.get_bootstrap_brokers(ClusterArn=arn)
    assert brokers["BootstrapBrokerStringSaslIam"] == "127.0.0.1:9098"
    kafka.delete_cluster(ClusterArn=arn)
    with pytest.raises(kafka.exceptions.NotFoundException):
        kafka.describe_cluster(ClusterArn=arn)
    kafka.delete_configuration(Arn=made["Arn"])

"""MSK without LocalStack: stored clusters, responses and errors."""

from typing import Any

import pytest
from localstack_emr_msk.calls import Caller
from localstack_emr_msk.errors import ServiceError
from localstack_emr_msk.msk.provider import MskProvider

CALLER = Caller("000000000000", "eu-central-1")


@pytest.fixture
def msk() -> MskProvider:
    return MskProvider({"LOCAL_MSK_BROKERS_SASL_IAM": "127.0.0.1:19098"})


def asked(name: str = "broker", **more: Any) -> dict[str, Any]:
    return {
        "ClusterName": name,
        "KafkaVersion": "3.9.x.kraft",
        "NumberOfBrokerNodes": 2,
        "BrokerNodeGroupInfo": {"ClientSubnets": ["a", "b"], "InstanceType": "kafka.m7g.large"},
        "ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}},
        "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS"}},
        "Tags": {"a": "1"},
    } | more


def test_a_cluster_is_returned_as_requested(msk: MskProvider) -> None:
    arn = msk.create_cluster(CALLER, asked())["ClusterArn"]
    assert arn.startswith("arn:aws:kafka:eu-central-1:000000000000:cluster/broker/")
    found = msk.describe_cluster(CALLER, {"ClusterArn": arn})["ClusterInfo"]
    assert (found["State"], found["NumberOfBrokerNodes"], found["Tags"]) == (
        "ACTIVE",
        2,
        {"a": "1"},
    )
    assert found["CurrentBrokerSoftwareInfo"] == {"KafkaVersion": "3.9.x.kraft"}
    second = msk.describe_cluster_v2(CALLER, {"ClusterArn": arn})["ClusterInfo"]
    assert second["ClusterType"] == "PROVISIONED"
    assert second["Provisioned"]["NumberOfBrokerNodes"] == 2
    assert len(msk.list_nodes(CALLER, {"ClusterArn": arn})["NodeInfoList"]) == 2
    assert msk.list_clusters(CALLER, {"ClusterNameFilter": "br"})["ClusterInfoList"] == [found]
    assert msk.list_clusters(Caller(CALLER.account, "us-east-1"), {})["ClusterInfoList"] == []
    assert msk.delete_cluster(CALLER, {"ClusterArn": arn})["State"] == "DELETING"
    with pytest.raises(ServiceError, match="NotFoundException"):
        msk.describe_cluster(CALLER, {"ClusterArn": arn})


@pytest.mark.parametrize(
    ("change", "brokers"),
    [
        ({}, {"BootstrapBrokerStringSaslIam": "127.0.0.1:19098"}),
        (
            {"ClientAuthentication": {"Unauthenticated": {"Enabled": True}}},
            {"BootstrapBrokerStringTls": "127.0.0.1:9094"},
        ),
        (
            {
                "ClientAuthentication": {},
                "EncryptionInfo": {"EncryptionInTransit": {"ClientBroker": "TLS_PLAINTEXT"}},
            },
            {
                "BootstrapBrokerString": "127.0.0.1:9092",
                "BootstrapBrokerStringTls": "127.0.0.1:9094",
            },
        ),
    ],
)
def test_brokers_are_returned_for_each_authentication_method(
    msk: MskProvider, change: dict[str, Any], brokers: dict[str, str]
) -> None:
    arn = msk.create_cluster(CALLER, asked(**change))["ClusterArn"]
    assert msk.get_bootstrap_brokers(CALLER, {"ClusterArn": arn}) == brokers


def test_a_serverless_cluster(msk: MskProvider) -> None:
    body = {"ClientAuthentication": {"Sasl": {"Iam": {"Enabled": True}}}}
    arn = msk.create_cluster_v2(CALLER, {"ClusterName": "s", "Serverless": body})["ClusterArn"]
    found = msk.describe_cluster_v2(CALLER, {"ClusterArn": arn})["ClusterInfo"]
    assert (found["ClusterType"], found["Serverless"]) == ("SERVERLESS", body)
    brokers = msk.get_bootstrap_brokers(CALLER, {"ClusterArn": arn})
    assert brokers == {"BootstrapBrokerStringSaslIam": "127.0.0.1:19098"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"NumberOfBrokerNodes": 3}, "multiple of Availability Zones"),
        ({"ClusterName": "no_underscore"}, "name 'no_underscore' is not valid"),
        ({"ConfigurationInfo": {"Arn": "arn:none", "Revision": 1}}, "Configuration ARN"),
        (
            {"BrokerNodeGroupInfo": {"ClientSubnets": ["a"], "InstanceType": "kafka.t3.small"}},
            r"BadRequestException: Unsupported InstanceType .*kafka\.m7g\.\*",
        ),
        ({"KafkaVersion": "3.6.0"}, r"BadRequestException: Unsupported KafkaVersion \[3\.6\.0\]"),
        ({"KafkaVersion": "4.1.0.kraft"}, r"Valid values: .*4\.1\.x\.kraft"),
    ],
)
def test_an_invalid_cluster_is_rejected(
    msk: MskProvider, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ServiceError, match=message):
        msk.create_cluster(CALLER, asked(**change))


def test_small_brokers_exist_only_with_zookeeper(msk: MskProvider) -> None:
    small = {"ClientSubnets": ["a", "b"], "InstanceType": "kafka.t3.small"}
    msk.create_cluster(CALLER, asked(KafkaVersion="3.9.x", BrokerNodeGroupInfo=small))
    arn = msk.create_cluster(CALLER, asked("other"))["ClusterArn"]
    with pytest.raises(ServiceError, match="Unsupported InstanceType"):
        msk.update_broker_type(CALLER, {"ClusterArn": arn, "TargetInstanceType": "kafka.t3.small"})


def test_a_second_cluster_of_the_same_name_is_rejected(msk: MskProvider) -> None:
    msk.create_cluster(CALLER, asked())
    with pytest.raises(ServiceError, match="ConflictException") as refused:
        msk.create_cluster(CALLER, asked())
    assert refused.value.status == 409


def test_updates_must_name_the_current_version(msk: MskProvider) -> None:
    arn = msk.create_cluster(CALLER, asked())["ClusterArn"]
    version = msk.describe_cluster(CALLER, {"ClusterArn": arn})["ClusterInfo"]["CurrentVersion"]
    change = {"ClusterArn": arn, "CurrentVersion": version, "TargetNumberOfBrokerNodes": 4}
    operation = msk.update_broker_count(CALLER, change)["ClusterOperationArn"]
    described = msk.describe_cluster_operation(CALLER, {"ClusterOperationArn": operation})
    assert described["ClusterOperationInfo"]["OperationState"] == "UPDATE_COMPLETE"
    found = msk.describe_cluster(CALLER, {"ClusterArn": arn})["ClusterInfo"]
    assert found["NumberOfBrokerNodes"] == 4
    with pytest.raises(ServiceError, match="isn't current"):
        msk.update_broker_count(CALLER, change)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (b"num.partitions=4\nlog.dirs=/data", "The property log.dirs is not one that MSK lets"),
        (b"# of topics\n\nnum.partitions", "'num.partitions' of ServerProperties is not name="),
    ],
)
def test_properties_that_msk_does_not_let_one_set_are_rejected(
    msk: MskProvider, properties: bytes, message: str
) -> None:
    with pytest.raises(ServiceError, match=message):
        msk.create_configuration(CALLER, {"Name": "c", "ServerProperties": properties})
    made = msk.create_configuration(CALLER, {"Name": "c", "ServerProperties": b"num.partitions=4"})
    with pytest.raises(ServiceError, match=message):
        msk.update_configuration(CALLER, {"Arn": made["Arn"], "ServerProperties": properties})


def test_configurations_have_revisions_and_stay_while_they_are_used(msk: MskProvider) -> None:
    made = msk.create_configuration(CALLER, {"Name": "c", "ServerProperties": b"num.partitions=1"})
    arn = made["Arn"]
    assert made["LatestRevision"]["Revision"] == 1
    assert (
        msk.update_configuration(CALLER, {"Arn": arn, "ServerProperties": b"num.partitions=2"})[
            "LatestRevision"
        ]["Revision"]
        == 2
    )
    for number, properties in ((1, b"num.partitions=1"), (2, b"num.partitions=2")):
        found = msk.describe_configuration_revision(CALLER, {"Arn": arn, "Revision": number})
        assert found["ServerProperties"] == properties
    with pytest.raises(ServiceError, match="revision 3"):
        msk.describe_configuration_revision(CALLER, {"Arn": arn, "Revision": 3})
    info = {"ConfigurationInfo": {"Arn": arn, "Revision": 2}}
    cluster = msk.create_cluster(CALLER, asked(**info))["ClusterArn"]
    with pytest.raises(ServiceError, match="in use"):
        msk.delete_configuration(CALLER, {"Arn": arn})
    msk.delete_cluster(CALLER, {"ClusterArn": cluster})
    msk.delete_configuration(CALLER, {"Arn": arn})
    with pytest.raises(ServiceError, match="Configuration ARN does not exist"):
        msk.describe_configuration(CALLER, {"Arn": arn})


def test_tags_are_added_and_removed(msk: MskProvider) -> None:
    arn = msk.create_cluster(CALLER, asked())["ClusterArn"]
    msk.tag_resource(CALLER, {"ResourceArn": arn, "Tags": {"b": "2"}})
    msk.untag_resource(CALLER, {"ResourceArn": arn, "TagKeys": ["a"]})
    assert msk.list_tags_for_resource(CALLER, {"ResourceArn": arn})["Tags"] == {"b": "2"}


@pytest.mark.parametrize(
    "other", [Caller("111111111111", CALLER.region), Caller(CALLER.account, "us-east-1")]
)
def test_accounts_and_regions_see_only_their_own(msk: MskProvider, other: Caller) -> None:
    configuration = msk.create_configuration(CALLER, {"Name": "c", "ServerProperties": b""})["Arn"]
    cluster = msk.create_cluster(CALLER, asked())["ClusterArn"]
    change = {"ClusterArn": cluster, "TargetNumberOfBrokerNodes": 4}
    operation = msk.update_broker_count(CALLER, change)["ClusterOperationArn"]
    info = {"Arn": configuration, "Revision": 1}
    for call, request in (
        (msk.describe_cluster, {"ClusterArn": cluster}),
        (msk.delete_cluster, {"ClusterArn": cluster}),
        (msk.get_bootstrap_brokers, {"ClusterArn": cluster}),
        (msk.list_scram_secrets, {"ClusterArn": cluster}),
        (msk.update_broker_count, change),
        (msk.describe_cluster_operation, {"ClusterOperationArn": operation}),
        (msk.list_tags_for_resource, {"ResourceArn": cluster}),
        (msk.list_tags_for_resource, {"ResourceArn": configuration}),
        (msk.describe_configuration, {"Arn": configuration}),
        (msk.delete_configuration, {"Arn": configuration}),
        (msk.create_cluster, asked("theirs", ConfigurationInfo=info)),
    ):
        with pytest.raises(ServiceError, match="does not exist"):
            call(other, request)
    # The owner still has both.
    assert msk.describe_cluster(CALLER, {"ClusterArn": cluster})
    assert msk.describe_configuration(CALLER, {"Arn": configuration})

"""The permissions that calls need, those on KMS keys included."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from localstack_emr_msk.iam.actions import permissions
from localstack_emr_msk.iam.cloud import Call, KeyUse
from localstack_emr_msk.iam.policies import Needed, Policy

ACCOUNT, REGION = "123456789012", "eu-central-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
CLUSTER = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:cluster/j-1"


@dataclass
class FakeCloud:
    """Resources in memory: buckets and other resources with a key, objects, clusters' tags."""

    encrypted: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    cluster_tags: Mapping[str, str] = field(default_factory=dict)

    def policy(self, arn: str) -> Policy | None:
        return None

    def tags(self, arn: str) -> Mapping[str, str]:
        return self.cluster_tags if arn == CLUSTER else {}

    def role_of_profile(self, account: str, profile: str) -> str | None:
        return f"arn:aws:iam::{account}:role/nodes" if profile == "profile" else None

    def secret_arn(self, call: Call, secret: str) -> str:
        return f"arn:aws:secretsmanager:{call.region}:{call.account}:secret:{secret}-aBcDeF"

    def key_arn(self, call: Call, key: str) -> str | None:
        return key if key.startswith("arn:") else None

    def has_object(self, bucket: str, key: str, version: str | None) -> bool:
        return f"{bucket}/{key}" in self.objects

    def object_key(self, bucket: str, key: str, version: str | None) -> KeyUse | None:
        return self.bucket_key(bucket, key) if self.has_object(bucket, key, version) else None

    def bucket_key(self, bucket: str, key: str) -> KeyUse | None:
        context = {"aws:s3:arn": f"arn:aws:s3:::{bucket}"}
        return KeyUse(KEY, context) if bucket in self.encrypted else None

    def resource_key(self, arn: str) -> KeyUse | None:
        return KeyUse(KEY, {"aws:sqs:arn": arn}) if arn in self.encrypted else None


def needs(
    service: str, operation: str, cloud: FakeCloud | None = None, **given: Any
) -> list[Needed]:
    call = Call(service, operation, given, REGION, ACCOUNT)
    return list(permissions(call, cloud or FakeCloud()))


def pairs(found: list[Needed]) -> list[tuple[str, str]]:
    return [(each.action, each.resource) for each in found]


OBJECT = {"Bucket": "b", "Key": "a/1"}
STORED = FakeCloud(objects=frozenset({"b/a/1"}))


@pytest.mark.parametrize(
    ("operation", "given", "expected"),
    [
        ("GetObject", OBJECT, ("s3:GetObject", "arn:aws:s3:::b/a/1")),
        ("HeadObject", OBJECT, ("s3:GetObject", "arn:aws:s3:::b/a/1")),
        (
            "GetObject",
            OBJECT | {"VersionId": "v"},
            ("s3:GetObjectVersion", "arn:aws:s3:::b/a/1"),
        ),
        ("PutObject", OBJECT, ("s3:PutObject", "arn:aws:s3:::b/a/1")),
        ("UploadPart", OBJECT, ("s3:PutObject", "arn:aws:s3:::b/a/1")),
        ("CompleteMultipartUpload", OBJECT, ("s3:PutObject", "arn:aws:s3:::b/a/1")),
        ("AbortMultipartUpload", OBJECT, ("s3:AbortMultipartUpload", "arn:aws:s3:::b/a/1")),
        ("ListParts", OBJECT, ("s3:ListMultipartUploadParts", "arn:aws:s3:::b/a/1")),
        ("DeleteObject", OBJECT, ("s3:DeleteObject", "arn:aws:s3:::b/a/1")),
        ("HeadBucket", {"Bucket": "b"}, ("s3:ListBucket", "arn:aws:s3:::b")),
        ("ListObjectsV2", {"Bucket": "b"}, ("s3:ListBucket", "arn:aws:s3:::b")),
        (
            "ListMultipartUploads",
            {"Bucket": "b"},
            ("s3:ListBucketMultipartUploads", "arn:aws:s3:::b"),
        ),
        (
            "ListBucketMetricsConfigurations",
            {"Bucket": "b"},
            ("s3:GetMetricsConfiguration", "arn:aws:s3:::b"),
        ),
        ("ListBuckets", {}, ("s3:ListAllMyBuckets", "*")),
        ("GetBucketPolicy", {"Bucket": "b"}, ("s3:GetBucketPolicy", "arn:aws:s3:::b")),
    ],
)
def test_an_operation_of_s3(
    operation: str, given: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert pairs(needs("s3", operation, STORED, **given)) == [expected]


def test_only_a_request_to_list_has_a_prefix() -> None:
    (listing,) = needs("s3", "ListObjectsV2", Bucket="b", Prefix="a/")
    assert listing.context == {"s3:prefix": ("a/",)}
    (whole,) = needs("s3", "ListObjectsV2", Bucket="b")
    assert "s3:prefix" not in whole.context


def test_tags_of_a_new_object_need_a_permission_of_their_own() -> None:
    assert pairs(needs("s3", "PutObject", **OBJECT, Tagging="a=b")) == [
        ("s3:PutObject", "arn:aws:s3:::b/a/1"),
        ("s3:PutObjectTagging", "arn:aws:s3:::b/a/1"),
    ]


@pytest.mark.parametrize("operation", ["GetObject", "HeadObject"])
def test_a_missing_key_needs_the_permission_to_list(operation: str) -> None:
    assert pairs(needs("s3", operation, **OBJECT)) == [
        ("s3:GetObject", "arn:aws:s3:::b/a/1"),
        ("s3:ListBucket", "arn:aws:s3:::b"),
    ]


def test_objects_are_deleted_and_copied_one_by_one() -> None:
    found = needs(
        "s3", "DeleteObjects", Bucket="b", Delete={"Objects": [{"Key": "1"}, {"Key": "2"}]}
    )
    assert pairs(found) == [
        ("s3:DeleteObject", "arn:aws:s3:::b/1"),
        ("s3:DeleteObject", "arn:aws:s3:::b/2"),
    ]
    copied = needs("s3", "CopyObject", STORED, Bucket="c", Key="2", CopySource="/b/a%2F1")
    assert pairs(copied) == [
        ("s3:GetObject", "arn:aws:s3:::b/a/1"),
        ("s3:PutObject", "arn:aws:s3:::c/2"),
    ]


@pytest.mark.parametrize(
    ("operation", "actions"),
    [
        ("GetObject", ["kms:Decrypt"]),
        ("HeadObject", []),
        ("PutObject", ["kms:GenerateDataKey"]),
        ("CreateMultipartUpload", ["kms:GenerateDataKey"]),
        ("UploadPart", ["kms:GenerateDataKey"]),
        ("CompleteMultipartUpload", ["kms:Decrypt"]),
        ("AbortMultipartUpload", []),
        ("DeleteObject", []),
    ],
)
def test_s3_uses_the_key_of_an_encrypted_bucket(operation: str, actions: list[str]) -> None:
    cloud = FakeCloud(frozenset({"b"}), frozenset({"b/a/1"}))
    found = needs("s3", operation, cloud, **OBJECT)[1:]
    assert [each.action for each in found] == actions
    for each in found:
        assert each.resource == KEY
        assert each.context["kms:viaservice"] == (f"s3.{REGION}.amazonaws.com",)
        assert each.context["kms:encryptioncontext:aws:s3:arn"] == ("arn:aws:s3:::b",)


def test_queues_are_found_by_their_url_and_use_their_key() -> None:
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue"
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/queue"
    cloud = FakeCloud(frozenset({arn}))
    sent = needs("sqs", "SendMessageBatch", cloud, QueueUrl=url)
    assert pairs(sent) == [
        ("sqs:SendMessage", arn),
        ("kms:GenerateDataKey", KEY),
        ("kms:Decrypt", KEY),
    ]
    received = needs("sqs", "ReceiveMessage", cloud, QueueUrl=url)
    assert pairs(received) == [("sqs:ReceiveMessage", arn), ("kms:Decrypt", KEY)]


def test_a_new_cluster_needs_its_roles_to_be_passed_and_its_settings_made() -> None:
    found = needs(
        "emr",
        "RunJobFlow",
        ServiceRole="service",
        JobFlowRole="profile",
        Tags=[{"Key": "Stack", "Value": "mine"}],
        AutoTerminationPolicy={"IdleTimeout": 60},
    )
    new = f"arn:aws:elasticmapreduce:{REGION}:{ACCOUNT}:cluster/j-NEW"
    assert pairs(found) == [
        ("elasticmapreduce:RunJobFlow", "*"),
        ("elasticmapreduce:AddTags", new),
        ("elasticmapreduce:PutAutoTerminationPolicy", new),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/service"),
        ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/nodes"),
    ]
    assert found[0].context["elasticmapreduce:requesttag/stack"] == ("mine",)
    assert found[1].context["elasticmapreduce:resourcetag/stack"] == ("mine",)
    assert [each.context["iam:passedtoservice"] for each in found[3:]] == [
        ("elasticmapreduce.amazonaws.com",),
        ("ec2.amazonaws.com",),
    ]


def test_a_clusters_tags_are_keys_of_conditions() -> None:
    cloud = FakeCloud(cluster_tags={"Stack": "mine"})
    (step,) = needs("emr", "DescribeStep", cloud, ClusterId="j-1", StepId="s-1")
    assert (step.action, step.resource) == ("elasticmapreduce:DescribeStep", CLUSTER)
    assert step.context["elasticmapreduce:resourcetag/stack"] == ("mine",)


@pytest.mark.parametrize(
    ("service", "operation", "given", "expected"),
    [
        ("sts", "GetCallerIdentity", {}, []),
        (
            "stepfunctions",
            "StartExecution",
            {"stateMachineArn": "arn:1", "input": "{}"},
            [("states:StartExecution", "arn:1")],
        ),
        (
            "kafka",
            "GetBootstrapBrokers",
            {"ClusterArn": "arn:1"},
            [("kafka:GetBootstrapBrokers", "arn:1")],
        ),
        ("sns", "Publish", {"TopicArn": "arn:1"}, [("sns:Publish", "arn:1")]),
        ("kms", "Decrypt", {}, [("kms:Decrypt", "*")]),
        (
            "secretsmanager",
            "PutSecretValue",
            {"SecretId": "s"},
            [
                (
                    "secretsmanager:PutSecretValue",
                    f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:s-aBcDeF",
                )
            ],
        ),
        (
            "logs",
            "PutLogEvents",
            {"logGroupName": "/g", "logStreamName": "s"},
            [("logs:PutLogEvents", f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/g:log-stream:s")],
        ),
        (
            "ssm",
            "GetParameter",
            {"Name": "/a/b"},
            [("ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/a/b")],
        ),
        (
            "elbv2",
            "DescribeLoadBalancers",
            {},
            [("elasticloadbalancing:DescribeLoadBalancers", "*")],
        ),
    ],
)
def test_other_services(
    service: str, operation: str, given: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert pairs(needs(service, operation, **given)) == expected

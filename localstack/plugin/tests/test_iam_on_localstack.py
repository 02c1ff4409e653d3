"""A LocalStack that refuses what no policy allows, through boto3 and a real cluster."""

import gzip
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

pytestmark = pytest.mark.localstack

ACCOUNT, REGION = "000000000000", "eu-central-1"
BUCKET, LOGS = "images-of-a-test", "logs-of-a-test"
INSTANCES = {
    "KeepJobFlowAliveWhenNoSteps": False,
    "InstanceGroups": [
        {"InstanceRole": "MASTER", "InstanceType": "m6i.xlarge", "InstanceCount": 1}
    ],
}


@pytest.fixture(scope="module")
def strict(
    start_another_cloud: Any, stop_another_cloud: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A LocalStack that enforces permissions, with a role, a key, and two buckets."""
    folder = tmp_path_factory.mktemp("strict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCAL_IAM_MODE", "enforce")
        patch.setenv("LOCAL_IAM_REPORT", str(folder / "permissions.jsonl"))
        cloud = start_another_cloud(folder)
    try:
        set_up(cloud)
        yield cloud
    finally:
        stop_another_cloud(cloud)


def set_up(cloud: Any) -> None:
    iam, s3 = cloud.client("iam"), cloud.client("s3")
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    for bucket in (BUCKET, LOGS):
        location = {"LocationConstraint": REGION}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )
    trust = [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "ec2.amazonaws.com"},
        }
    ]
    iam.create_role(RoleName="nodes", AssumeRolePolicyDocument=document(trust))
    iam.create_instance_profile(InstanceProfileName="profile")
    iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName="nodes")
    via_s3 = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
    allowed = [
        {"Action": objects, "Resource": f"arn:aws:s3:::{BUCKET}/own/*"},
        {"Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": key, "Condition": via_s3},
        {"Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{LOGS}/*"},
    ]
    policy = document([{"Effect": "Allow", **each} for each in allowed])
    iam.put_role_policy(RoleName="nodes", PolicyName="own", PolicyDocument=policy)


def document(statements: list[dict[str, Any]]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def credentials(cloud: Any, service: str = "ec2", name: str = "profile") -> dict[str, str]:
    address = f"{cloud.endpoint}/_iam/credentials/{ACCOUNT}/{service}/{name}/i-1"
    with urllib.request.urlopen(address, timeout=30) as answer:
        found: dict[str, str] = json.load(answer)
    return found


@pytest.fixture(scope="module")
def client(strict: Any) -> Callable[[str], Any]:
    """Makes clients with the credentials of the role."""
    given = credentials(strict)
    session = boto3.session.Session(
        given["AccessKeyId"], given["SecretAccessKey"], given["Token"], REGION
    )
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return lambda service: session.client(service, endpoint_url=strict.endpoint, config=config)


def error(call: Callable[..., Any], **given: Any) -> tuple[str, int, str]:
    """Returns code, status and message of the error that a call raises."""
    with pytest.raises(ClientError) as raised:
        call(**given)
    answer = raised.value.response
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    return answer["Error"]["Code"], status, answer["Error"]["Message"]


# ---- S3


def test_objects_that_the_policy_names_can_be_used(client: Any) -> None:
    s3 = client("s3")
    s3.put_object(Bucket=BUCKET, Key="own/1", Body=b"content")
    assert s3.get_object(Bucket=BUCKET, Key="own/1")["Body"].read() == b"content"


def test_others_are_denied_with_awss_message(client: Any) -> None:
    code, status, message = error(client("s3").put_object, Bucket=BUCKET, Key="other", Body=b"")
    assert (code, status) == ("AccessDenied", 403)
    assert message == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/nodes/i-1 is not authorized to perform: "
        f's3:PutObject on resource: "arn:aws:s3:::{BUCKET}/other" because no identity-based policy '
        "allows the s3:PutObject action"
    )


def test_a_missing_key_is_forbidden_to_those_who_may_not_list(client: Any, strict: Any) -> None:
    missing = {"Bucket": BUCKET, "Key": "own/missing"}
    assert error(client("s3").get_object, **missing)[:2] == ("AccessDenied", 403)
    assert error(client("s3").head_object, **missing)[1] == 403
    policy = document(
        [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}]
    )
    iam = strict.client("iam")
    iam.put_role_policy(RoleName="nodes", PolicyName="list", PolicyDocument=policy)
    try:
        assert error(client("s3").get_object, **missing)[:2] == ("NoSuchKey", 404)
        assert error(client("s3").head_object, **missing)[1] == 404
    finally:
        iam.delete_role_policy(RoleName="nodes", PolicyName="list")


def test_objects_are_deleted_or_denied_one_by_one(client: Any, strict: Any) -> None:
    for key in ("own/2", "other"):
        strict.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"")
    objects = {"Objects": [{"Key": "own/2"}, {"Key": "other"}]}
    answer = client("s3").delete_objects(Bucket=BUCKET, Delete=objects)
    assert [each["Key"] for each in answer["Deleted"]] == ["own/2"]
    assert [(each["Key"], each["Code"]) for each in answer["Errors"]] == [("other", "AccessDenied")]
    strict.client("s3").head_object(Bucket=BUCKET, Key="other")


def test_a_presigned_address_may_do_what_its_signer_may(client: Any, strict: Any) -> None:
    strict.client("s3").put_object(Bucket=BUCKET, Key="own/3", Body=b"shown")
    strict.client("s3").put_object(Bucket=BUCKET, Key="hidden", Body=b"hidden")

    def address(key: str) -> str:
        given = {"Bucket": BUCKET, "Key": key}
        return str(client("s3").generate_presigned_url("get_object", Params=given))

    with urllib.request.urlopen(address("own/3"), timeout=30) as answer:
        assert answer.read() == b"shown"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(address("hidden"), timeout=30)


def test_an_encrypted_object_needs_the_key(client: Any, strict: Any) -> None:
    kms = strict.client("kms")
    other = kms.create_key()["KeyMetadata"]["Arn"]
    given = {"Bucket": BUCKET, "Key": "own/4", "Body": b"", "ServerSideEncryption": "aws:kms"}
    code, _, message = error(client("s3").put_object, **given, SSEKMSKeyId=other)
    assert code == "AccessDenied"
    assert "kms:GenerateDataKey" in message


# ---- other services and callers


@pytest.mark.parametrize(
    ("service", "operation", "expected"),
    [
        ("sqs", "list_queues", ("AccessDenied", 400)),
        ("ec2", "describe_vpcs", ("UnauthorizedOperation", 403)),
        ("stepfunctions", "list_state_machines", ("AccessDeniedException", 400)),
        ("kafka", "list_clusters_v2", ("AccessDeniedException", 403)),
        ("iam", "list_roles", ("AccessDenied", 403)),
    ],
)
def test_each_protocol_has_its_error(
    client: Any, service: str, operation: str, expected: tuple[str, int]
) -> None:
    assert error(getattr(client(service), operation))[:2] == expected


def test_everyone_may_ask_who_they_are(client: Any) -> None:
    arn = client("sts").get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/nodes/i-1"


def test_an_unknown_key_is_rejected(strict: Any) -> None:
    session = boto3.session.Session("AKIAIOSFODNN7EXAMPLE", "none", region_name=REGION)
    s3 = session.client("s3", endpoint_url=strict.endpoint)
    assert error(s3.list_buckets)[:2] == ("InvalidClientTokenId", 403)


def test_a_service_assumes_only_a_role_that_trusts_it(strict: Any) -> None:
    assert credentials(strict)["RoleArn"] == f"arn:aws:iam::{ACCOUNT}:role/nodes"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        credentials(strict, "scheduler", "nodes")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        credentials(strict, "ec2", "unknown")


def test_a_policy_that_cannot_be_evaluated_denies(client: Any, strict: Any) -> None:
    odd = {"StringResembles": {"aws:SourceIp": "1"}}
    statement = {"Effect": "Allow", "Action": "sqs:*", "Principal": "*", "Condition": odd}
    policy = {"Policy": document([statement])}
    url = strict.client("sqs").create_queue(QueueName="odd", Attributes=policy)["QueueUrl"]
    code, _, message = error(client("sqs").receive_message, QueueUrl=url)
    assert code == "AccessDenied"
    assert "policy queue odd: the condition operator StringResembles is not known" in message


def test_each_decision_is_reported(client: Any, strict: Any) -> None:
    client("s3").put_object(Bucket=BUCKET, Key="own/reported", Body=b"")
    lines = (strict.folder / "permissions.jsonl").read_text().splitlines()
    found = [each for each in map(json.loads, lines) if each["resource"].endswith("own/reported")]
    assert [(each["action"], each["allowed"], each["statements"]) for each in found] == [
        ("s3:PutObject", True, ["nodes/own/1"])
    ]


# ---- a cluster


def test_a_cluster_calls_with_its_instance_profile(strict: Any) -> None:
    s3, emr = strict.client("s3"), strict.client("emr")
    s3.put_object(
        Bucket=BUCKET, Key="own/boot.sh", Body=b"aws s3 cp s3://%s/own/file -\n" % BUCKET.encode()
    )
    s3.put_object(Bucket=BUCKET, Key="own/file", Body=b"from the role")
    s3.put_object(Bucket=BUCKET, Key="file", Body=b"of others")
    jar = "command-runner.jar"
    command = ["aws", "s3", "cp", f"s3://{BUCKET}/file", "-"]
    cluster = emr.run_job_flow(
        Name="test",
        ReleaseLabel="emr-spark-8.1.0",
        JobFlowRole="profile",
        ServiceRole="service",
        LogUri=f"s3://{LOGS}/",
        Instances=INSTANCES,
        BootstrapActions=[
            {"Name": "it", "ScriptBootstrapAction": {"Path": f"s3://{BUCKET}/own/boot.sh"}}
        ],
        Steps=[
            {
                "Name": "denied",
                "ActionOnFailure": "CONTINUE",
                "HadoopJarStep": {"Jar": jar, "Args": command},
            }
        ],
    )["JobFlowId"]
    deadline = time.monotonic() + 120
    while emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] != "TERMINATED":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (step,) = emr.list_steps(ClusterId=cluster)["Steps"]
    assert step["Status"]["State"] == "FAILED"
    logs = {
        each["Key"].removeprefix(f"{cluster}/"): each["Key"]
        for each in s3.list_objects_v2(Bucket=LOGS, Prefix=cluster)["Contents"]
    }
    booted = next(
        key for name, key in logs.items() if name.endswith("bootstrap-actions/1/stdout.gz")
    )
    assert (
        gzip.decompress(s3.get_object(Bucket=LOGS, Key=booted)["Body"].read()) == b"from the role"
    )
    denied = s3.get_object(Bucket=LOGS, Key=logs[f"steps/{step['Id']}/stderr.gz"])["Body"].read()
    assert b"403" in gzip.decompress(denied) or b"AccessDenied" in gzip.decompress(denied)


# ---- services of AWS


def until(check: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
    return answer


def decisions(cloud: Any, principal: str) -> list[tuple[str, bool]]:
    """Returns the reported actions of a principal, and whether each was allowed."""
    lines = (cloud.folder / "permissions.jsonl").read_text().splitlines()
    found = [each for each in map(json.loads, lines) if each["role"] == principal]
    return [(each["action"], each["allowed"]) for each in found]


def statement(service: str, action: str, **condition: str) -> dict[str, Any]:
    source = {"ArnEquals": {"aws:SourceArn": condition["source"]}} if condition else {}
    principal = {"Service": f"{service}.amazonaws.com"}
    found = {"Effect": "Allow", "Action": action, "Principal": principal, "Condition": source}
    return found if action == "sts:AssumeRole" else found | {"Resource": "*"}


def test_an_execution_assumes_the_role_for_its_own_state_machine(strict: Any) -> None:
    iam, states = strict.client("iam"), strict.client("stepfunctions")
    prefix = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine"
    trust = document([statement("states", "sts:AssumeRole", source=f"{prefix}:mine")])
    role = iam.create_role(RoleName="machine", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    listing = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}
    iam.put_role_policy(RoleName="machine", PolicyName="own", PolicyDocument=document([listing]))

    def outcome(name: str, bucket: str) -> dict[str, Any]:
        list_objects = {
            "Type": "Task",
            "Resource": "arn:aws:states:::aws-sdk:s3:listObjectsV2",
            "Parameters": {"Bucket": bucket},
            "End": True,
        }
        definition = json.dumps({"StartAt": "List", "States": {"List": list_objects}})
        made = states.create_state_machine(name=name, roleArn=role, definition=definition)
        begun = states.start_execution(stateMachineArn=made["stateMachineArn"])
        described: dict[str, Any] = until(
            lambda: (
                (found := states.describe_execution(executionArn=begun["executionArn"]))["status"]
                != "RUNNING"
                and found
            )
        )
        states.delete_state_machine(stateMachineArn=made["stateMachineArn"])
        return described

    assert outcome("mine", BUCKET)["status"] == "SUCCEEDED"
    denied = outcome("other", BUCKET)
    assert denied["status"] == "FAILED"
    assert "sts:AssumeRole" in denied["cause"]


def test_events_need_the_queue_and_its_key(strict: Any) -> None:
    s3, sqs, kms = strict.client("s3"), strict.client("sqs"), strict.client("kms")
    source = {"source": f"arn:aws:s3:::{BUCKET}"}
    own = {
        "Effect": "Allow",
        "Action": "kms:*",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Resource": "*",
    }
    key = kms.create_key(Policy=document([own]))["KeyMetadata"]["KeyId"]
    attributes = {
        "Policy": document([statement("s3", "sqs:SendMessage", **source)]),
        "KmsMasterKeyId": key,
    }
    url = sqs.create_queue(QueueName="events", Attributes=attributes)["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:events"
    events = {
        "Bucket": BUCKET,
        "NotificationConfiguration": {
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]
        },
    }
    # S3 sends a test event, and refuses a queue that does not take it.
    code, _, _ = error(s3.put_bucket_notification_configuration, **events)
    assert code == "InvalidArgument"
    assert decisions(strict, "s3.amazonaws.com")[-2:] == [
        ("sqs:SendMessage", True),
        ("kms:GenerateDataKey", False),
    ]
    allowed = statement("s3", "kms:*", **source)
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=document([own, allowed]))
    s3.put_bucket_notification_configuration(**events)
    assert "s3:TestEvent" in sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"]


def test_an_alarm_publishes_as_cloudwatch(strict: Any) -> None:
    sns, cloudwatch = strict.client("sns"), strict.client("cloudwatch")
    topic = sns.create_topic(Name="alarms")["TopicArn"]
    policy = document([statement("cloudwatch", "sns:Publish")])
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    cloudwatch.put_metric_alarm(
        AlarmName="alarm",
        AlarmActions=[topic],
        Namespace="test",
        MetricName="errors",
        Statistic="Sum",
        Period=86400,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",
    )
    cloudwatch.set_alarm_state(AlarmName="alarm", StateValue="ALARM", StateReason="a test")
    published = until(lambda: decisions(strict, "cloudwatch.amazonaws.com"))
    assert published[0] == ("sns:Publish", True)


# ---- Spark's S3 connector

JOB = b"""import sys
from pyspark.sql import SparkSession

session = SparkSession.builder.getOrCreate()
session.range(10).write.parquet(sys.argv[1])
print("rows", session.read.parquet(sys.argv[1]).count())
"""


def spark_policy(condition: dict[str, Any]) -> str:
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    listing = {"Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"}
    allowed = [
        {"Action": objects, "Resource": f"arn:aws:s3:::{BUCKET}/spark/*"},
        {"Action": "s3:ListBucketMultipartUploads", "Resource": f"arn:aws:s3:::{BUCKET}"},
        listing | ({"Condition": condition} if condition else {}),
    ]
    return document([{"Effect": "Allow", **each} for each in allowed])


@pytest.mark.spark
def test_spark_cannot_write_where_listing_depends_on_a_prefix(strict: Any) -> None:
    # It asks whether keys exist before it writes them. Without the permission to list, S3 answers
    # 403 to that, and such a request has no prefix.
    iam, s3, emr = strict.client("iam"), strict.client("s3"), strict.client("emr")
    s3.put_object(Bucket=BUCKET, Key="own/job.py", Body=JOB)
    cluster = emr.run_job_flow(
        Name="spark",
        ReleaseLabel="emr-spark-8.1.0",
        Applications=[{"Name": "Spark"}],
        JobFlowRole="profile",
        ServiceRole="service",
        LogUri=f"s3://{LOGS}/",
        Instances=INSTANCES | {"KeepJobFlowAliveWhenNoSteps": True},
    )["JobFlowId"]

    def ended(name: str) -> str:
        arguments = ["spark-submit", f"s3://{BUCKET}/own/job.py", f"s3://{BUCKET}/spark/{name}"]
        jar = {"Jar": "command-runner.jar", "Args": arguments}
        step = {"Name": name, "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}
        (identifier,) = emr.add_job_flow_steps(JobFlowId=cluster, Steps=[step])["StepIds"]

        def state() -> str:
            found = emr.describe_step(ClusterId=cluster, StepId=identifier)["Step"]["Status"]
            return str(found["State"]) if found["State"] in ("COMPLETED", "FAILED") else ""

        return str(until(state, 240))

    try:
        of_prefix = {"StringLike": {"s3:prefix": ["spark/*"]}}
        policy = spark_policy(of_prefix)
        iam.put_role_policy(RoleName="nodes", PolicyName="spark", PolicyDocument=policy)
        assert ended("refused") == "FAILED"
        iam.put_role_policy(RoleName="nodes", PolicyName="spark", PolicyDocument=spark_policy({}))
        assert ended("allowed") == "COMPLETED"
    finally:
        iam.delete_role_policy(RoleName="nodes", PolicyName="spark")
        emr.terminate_job_flows(JobFlowIds=[cluster])
    lines = (strict.folder / "permissions.jsonl").read_text().splitlines()
    denied = {
        (each["call"], each["action"])
        for each in map(json.loads, lines)
        if not each["allowed"] and each["principal"].endswith(f"/{primary(emr, cluster)}")
    }
    assert ("s3:HeadObject", "s3:ListBucket") in denied


def primary(emr: Any, cluster: str) -> str:
    """Returns the instance id of a cluster's primary node."""
    (found,) = emr.list_instances(ClusterId=cluster)["Instances"]
    return str(found["Ec2InstanceId"])

"""Reads LocalStack's resources and their policies, without calls."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from localstack.services.kms.models import kms_stores
from localstack.services.s3.models import S3DeleteMarker, s3_stores
from localstack.services.sqs.models import sqs_stores
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.sns.models import sns_backends

from localstack_emr_msk.iam.cloud import Call, KeyUse
from localstack_emr_msk.iam.policies import Policy, parse_policy

_PARTITION = "aws"
_S3_REGION = "us-east-1"  # LocalStack keeps the buckets of all regions there
_ARN_PARTS = 6
# Of an account and region, and the id of a cluster.
ClusterTags = Callable[[str, str, str], Mapping[str, str]]


class Stores:
    """The resources of this LocalStack; ``cluster_tags`` returns those of EMR clusters."""

    def __init__(self, cluster_tags: ClusterTags) -> None:
        self._cluster_tags = cluster_tags

    # ---- policies and tags

    def policy(self, arn: str) -> Policy | None:
        """Returns the policy of a bucket, queue, topic, key or secret, or a role's trust policy."""
        parts = arn.split(":", _ARN_PARTS - 1)
        if len(parts) != _ARN_PARTS:
            return None
        _, _, service, region, account, name = parts
        find = getattr(self, f"_policy_of_{service}", None)
        text = find(account, region, name) if find else None
        if not text:
            return None
        text = text if isinstance(text, str) else json.dumps(text)
        shown = name.removeprefix("role/").removeprefix("key/").partition("/")[0]
        return parse_policy(f"{_KINDS[service]} {shown}", text)

    def _policy_of_s3(self, account: str, region: str, name: str) -> Any:
        bucket = _bucket(name.partition("/")[0])
        return bucket.policy if bucket else None

    def _policy_of_sqs(self, account: str, region: str, name: str) -> Any:
        queue = sqs_stores[account][region].queues.get(name)
        return queue.attributes.get("Policy") if queue else None

    def _policy_of_sns(self, account: str, region: str, name: str) -> Any:
        topic = _topic(account, region, name)
        return topic.policy if topic else None

    def _policy_of_kms(self, account: str, region: str, name: str) -> Any:
        key = kms_stores[account][region].keys.get(name.removeprefix("key/"))
        return key.policy if key else None

    def _policy_of_secretsmanager(self, account: str, region: str, name: str) -> Any:
        secret = _secret(account, region, f"arn:aws:secretsmanager:{region}:{account}:{name}")
        return getattr(secret, "policy", None)

    def _policy_of_iam(self, account: str, region: str, name: str) -> Any:
        if not name.startswith("role/"):
            return None
        with suppress(Exception):  # moto's error of an unknown role
            role = iam_backends[account][_PARTITION].get_role(name.rpartition("/")[2])
            return role.assume_role_policy_document
        return None

    def tags(self, arn: str) -> Mapping[str, str]:
        """Returns the tags of an EMR cluster; others have none here."""
        parts = arn.split(":", _ARN_PARTS - 1)
        if len(parts) != _ARN_PARTS or parts[2] != "elasticmapreduce":
            return {}
        return self._cluster_tags(parts[4], parts[3], parts[5].removeprefix("cluster/"))

    # ---- names and ARNs

    def role_of_profile(self, account: str, profile: str) -> str | None:
        """Returns the ARN of the role in an instance profile, given its name or ARN."""
        with suppress(Exception):  # moto's error of an unknown profile
            found = iam_backends[account][_PARTITION].get_instance_profile(
                profile.rpartition("/")[2]
            )
            return str(found.roles[0].arn)
        return None

    def secret_arn(self, call: Call, secret: str) -> str:
        """Returns the ARN of a secret, given its name or ARN."""
        found = _secret(call.account, call.region, secret)
        if found is not None:
            return str(found.arn)
        if secret.startswith("arn:"):
            return secret
        return f"arn:aws:secretsmanager:{call.region}:{call.account}:secret:{secret}"

    def key_arn(self, call: Call, key: str) -> str | None:
        """Returns the ARN of a KMS key, given its id, ARN or alias; None for one of AWS's own."""
        return _key_arn(call.account, call.region, key)

    # ---- objects and keys

    def has_object(self, bucket: str, key: str, version: str | None) -> bool:
        """Returns whether an object exists."""
        return _object(bucket, key, version) is not None

    def object_key(self, bucket: str, key: str, version: str | None) -> KeyUse | None:
        """Returns the KMS key of an object."""
        found, owner = _object(bucket, key, version), _bucket(bucket)
        if found is None or owner is None or found.encryption != "aws:kms":
            return None
        arn = found.kms_key_id
        of_bucket = bool(getattr(found, "bucket_key_enabled", False))
        return _use(owner, arn, _s3_context(bucket, key, of_bucket=of_bucket))

    def bucket_key(self, bucket: str, key: str) -> KeyUse | None:
        """Returns the KMS key that a bucket uses by default for an object."""
        owner = _bucket(bucket)
        rule = owner.encryption_rule if owner else None
        default = (rule or {}).get("ApplyServerSideEncryptionByDefault") or {}
        if default.get("SSEAlgorithm") != "aws:kms":
            return None
        of_bucket = bool((rule or {}).get("BucketKeyEnabled"))
        return _use(
            owner, default.get("KMSMasterKeyID"), _s3_context(bucket, key, of_bucket=of_bucket)
        )

    def resource_key(self, arn: str) -> KeyUse | None:
        """Returns the KMS key of a queue, topic or secret."""
        _, _, service, region, account, name = arn.split(":", _ARN_PARTS - 1)
        if service == "sqs":
            queue = sqs_stores[account][region].queues.get(name)
            key = queue.attributes.get("KmsMasterKeyId") if queue else None
            context = {"aws:sqs:arn": arn}
        elif service == "sns":
            topic = _topic(account, region, name)
            key = topic.kms_master_key_id if topic else None
            context = {"aws:sns:topicArn": arn}
        else:
            secret = _secret(account, region, arn)
            key = getattr(secret, "kms_key_id", None)
            context = {"SecretARN": arn}
        found = _key_arn(account, region, key) if key else None
        return KeyUse(found, context) if found else None


_KINDS = {
    "s3": "bucket",
    "sqs": "queue",
    "sns": "topic",
    "kms": "key",
    "secretsmanager": "secret",
    "iam": "trust of role",
}


def _bucket(name: str) -> Any:
    found = (s3_stores[account][_S3_REGION].buckets.get(name) for account in list(s3_stores))
    return next((each for each in found if each is not None), None)


def _object(bucket: str, key: str, version: str | None) -> Any:
    owner = _bucket(bucket)
    if owner is None:
        return None
    found = owner.objects.get(key, version) if owner.versioning_status else owner.objects.get(key)
    return None if isinstance(found, S3DeleteMarker) else found


def _topic(account: str, region: str, name: str) -> Any:
    arn = f"arn:aws:sns:{region}:{account}:{name}"
    return sns_backends[account][region].topics.get(arn)


def _secret(account: str, region: str, name: str) -> Any:
    """Returns a secret, given its name or ARN."""
    with suppress(Exception):  # moto's error of an unknown secret
        return secretsmanager_backends[account][region].secrets[name]
    return None


def _key_arn(account: str, region: str, key: str) -> str | None:
    name = key.partition(":key/")[2] or key.rpartition(":")[2]
    if name.startswith("alias/"):
        alias = kms_stores[account][region].aliases.get(name)
        # Those of AWS have policies that let the account use them through the service.
        if alias is None or name.startswith("alias/aws/"):
            return None
        name = alias.metadata["TargetKeyId"]
    return f"arn:aws:kms:{region}:{account}:key/{name}"


def _s3_context(bucket: str, key: str, *, of_bucket: bool) -> dict[str, str]:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html"""
    arn = f"arn:aws:s3:::{bucket}"
    return {"aws:s3:arn": arn if of_bucket else f"{arn}/{key}"}


def _use(bucket: Any, key: str | None, context: Mapping[str, str]) -> KeyUse | None:
    found = _key_arn(bucket.bucket_account_id, bucket.bucket_region, key) if key else None
    return KeyUse(found, context) if found else None

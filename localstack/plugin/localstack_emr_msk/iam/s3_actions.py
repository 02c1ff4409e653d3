"""The permissions of S3's operations, many of which have another name than their action.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from localstack_emr_msk.iam.cloud import Call, Cloud
from localstack_emr_msk.iam.patterns import Context
from localstack_emr_msk.iam.policies import Needed

# Operations whose action has another name.
_ACTIONS: Mapping[str, str] = {
    "HeadObject": "GetObject",
    "GetObjectAttributes": "GetObject",
    "SelectObjectContent": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "PostObject": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "HeadBucket": "ListBucket",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListBuckets": "ListAllMyBuckets",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "PutBucketCors": "PutBucketCORS",
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "GetBucketLifecycle": "GetLifecycleConfiguration",
    "PutBucketLifecycle": "PutLifecycleConfiguration",
    # One action to read, also all of them, and one to write and delete.
    **{
        f"{verb}Bucket{kind}Configuration{plural}": f"{access}{kind}Configuration"
        for kind in ("Analytics", "IntelligentTiering", "Inventory", "Metrics")
        for verb, plural, access in (
            ("Get", "", "Get"),
            ("List", "s", "Get"),
            ("Put", "", "Put"),
            ("Delete", "", "Put"),
        )
    },
}
# What a request to write may bring along, and the action that it needs then as well:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html
_EXTRAS = {"ACL": "PutObjectAcl", "Tagging": "PutObjectTagging"}
_VERSIONED = ("GetObject", "DeleteObject", "GetObjectTagging", "PutObjectTagging")
# Condition keys and the parameters that they come from. Only a request to list has a prefix.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
_LISTING = {"s3:prefix": "Prefix", "s3:delimiter": "Delimiter", "s3:max-keys": "MaxKeys"}
_WRITING = {
    "s3:x-amz-acl": "ACL",
    "s3:x-amz-server-side-encryption": "ServerSideEncryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "s3:x-amz-storage-class": "StorageClass",
}
READS = ("GetObject", "HeadObject", "GetObjectAttributes")


def permissions(call: Call) -> Iterator[Needed]:
    """Yields the permissions of an operation, without those for KMS keys."""
    given, operation = call.parameters, call.operation
    bucket = f"arn:aws:s3:::{given['Bucket']}" if given.get("Bucket") else "*"
    if operation == "DeleteObjects":
        for each in given["Delete"]["Objects"]:
            yield _on_object("DeleteObject", bucket, each["Key"], each.get("VersionId"), {})
        return
    if operation in ("CopyObject", "UploadPartCopy"):
        name, key, version = copy_source(given["CopySource"])
        yield _on_object("GetObject", f"arn:aws:s3:::{name}", key, version, {})
        yield from _to_write(given, bucket)
        return
    action = _ACTIONS.get(operation, operation)
    if given.get("Key") is not None and action == "PutObject":
        yield from _to_write(given, bucket)
    elif given.get("Key") is not None:
        yield _on_object(action, bucket, given["Key"], given.get("VersionId"), {})
    else:
        yield Needed(f"s3:{action}", bucket, _keys(given, _LISTING) if "List" in operation else {})


def _to_write(given: Mapping[str, Any], bucket: str) -> Iterator[Needed]:
    keys = _keys(given, _WRITING)
    yield _on_object("PutObject", bucket, given["Key"], None, keys)
    for field, action in _EXTRAS.items():
        if given.get(field):
            yield _on_object(action, bucket, given["Key"], None, keys)


def to_learn_of_absence(call: Call, cloud: Cloud) -> Iterator[Needed]:
    """Yields the permission without which S3 answers 403, not 404, when an object is missing.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    given = call.parameters
    if call.operation in READS:
        bucket, key, version = given["Bucket"], given["Key"], given.get("VersionId")
    elif call.operation in ("CopyObject", "UploadPartCopy"):
        bucket, key, version = copy_source(given["CopySource"])
    else:
        return
    if not cloud.has_object(bucket, key, version):
        yield Needed("s3:ListBucket", f"arn:aws:s3:::{bucket}", {})


def copy_source(source: str | Mapping[str, str]) -> tuple[str, str, str | None]:
    """Returns bucket, key and version of the object that is copied."""
    if not isinstance(source, str):
        return source["Bucket"], source["Key"], source.get("VersionId")
    path, _, version = source.partition("?versionId=")
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key, version or None


def _on_object(action: str, bucket: str, key: str, version: str | None, context: Context) -> Needed:
    suffix = "Version" if version and action in _VERSIONED else ""
    keys = {**context, "s3:versionid": (version,)} if version else context
    return Needed(f"s3:{action}{suffix}", f"{bucket}/{key}", keys)


def _keys(given: Mapping[str, Any], names: Mapping[str, str]) -> Context:
    return {key: (str(given[name]),) for key, name in names.items() if given.get(name) is not None}

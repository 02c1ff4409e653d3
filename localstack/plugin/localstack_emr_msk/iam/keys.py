"""The permissions on KMS keys that services use on behalf of the caller.

The free LocalStack encrypts nothing on behalf of a caller, so these calls exist only here. S3:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html (objects) and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html (uploads in parts). SQS:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html.
SNS: https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html. Secrets Manager:
https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html
"""

from collections.abc import Iterator, Mapping, Sequence

from localstack_emr_msk.iam.cloud import Call, Cloud, KeyUse
from localstack_emr_msk.iam.policies import Needed
from localstack_emr_msk.iam.s3_actions import copy_source

_DECRYPT = ("Decrypt",)
_ENCRYPT = ("GenerateDataKey",)
_BOTH = ("GenerateDataKey", "Decrypt")

_S3: Mapping[str, Sequence[str]] = {
    "GetObject": _DECRYPT,
    "PutObject": _ENCRYPT,
    "PostObject": _ENCRYPT,
    "CreateMultipartUpload": _ENCRYPT,
    "UploadPart": _ENCRYPT,
    "UploadPartCopy": _ENCRYPT,
    "CopyObject": _ENCRYPT,
    # S3 reads the parts to put them together.
    "CompleteMultipartUpload": _DECRYPT,
}
_OTHERS: Mapping[tuple[str, str], Sequence[str]] = {
    ("sqs", "SendMessage"): _BOTH,
    ("sqs", "SendMessageBatch"): _BOTH,
    ("sqs", "ReceiveMessage"): _DECRYPT,
    ("sns", "Publish"): _BOTH,
    ("sns", "PublishBatch"): _BOTH,
    ("secretsmanager", "GetSecretValue"): _DECRYPT,
    ("secretsmanager", "PutSecretValue"): _BOTH,
    ("secretsmanager", "UpdateSecret"): _BOTH,
}


def permissions(call: Call, resource: str, cloud: Cloud) -> Iterator[Needed]:
    """Yields the permissions on keys of a call to a resource."""
    if call.service == "s3":
        yield from _of_objects(call, cloud)
        return
    actions = _OTHERS.get((call.service, call.operation))
    use = cloud.resource_key(resource) if actions else None
    if actions and use:
        yield from _on_key(call, use, actions)


def _of_objects(call: Call, cloud: Cloud) -> Iterator[Needed]:
    given, actions = call.parameters, _S3.get(call.operation)
    if call.operation == "HeadObject" and given.get("ChecksumMode") == "ENABLED":
        # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
        actions = _DECRYPT
    if actions is None:
        return
    if call.operation in ("CopyObject", "UploadPartCopy"):
        source = cloud.object_key(*copy_source(given["CopySource"]))
        if source:
            yield from _on_key(call, source, _DECRYPT)
    if call.operation in ("GetObject", "HeadObject"):
        use = cloud.object_key(given["Bucket"], given["Key"], given.get("VersionId"))
    else:
        use = _asked_for(call, cloud) or cloud.bucket_key(given["Bucket"], given["Key"])
    if use:
        yield from _on_key(call, use, actions)


def _asked_for(call: Call, cloud: Cloud) -> KeyUse | None:
    """Returns the key that the request itself names."""
    given = call.parameters
    if given.get("ServerSideEncryption") != "aws:kms" or not given.get("SSEKMSKeyId"):
        return None
    key = cloud.key_arn(call, given["SSEKMSKeyId"])
    arn = f"arn:aws:s3:::{given['Bucket']}/{given['Key']}"
    return KeyUse(key, {"aws:s3:arn": arn}) if key else None


def _on_key(call: Call, use: KeyUse, actions: Sequence[str]) -> Iterator[Needed]:
    context = {
        "kms:viaservice": (f"{call.service}.{call.region}.amazonaws.com",),
        "kms:calleraccount": (call.account,),
        **{
            f"kms:encryptioncontext:{name}".lower(): (value,) for name, value in use.context.items()
        },
    }
    for action in actions:
        yield Needed(f"kms:{action}", use.key, context)

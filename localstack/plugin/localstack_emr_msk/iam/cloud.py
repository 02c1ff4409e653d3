"""What the permissions of a call depend on, beside the call itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from localstack_emr_msk.iam.policies import Policy


@dataclass(frozen=True)
class Call:
    """A call of AWS's API: botocore's name of the service, operation and parameters."""

    service: str
    operation: str
    parameters: Mapping[str, Any]
    region: str
    account: str


@dataclass(frozen=True)
class KeyUse:
    """The KMS key that encrypts a resource, and the encryption context that its service passes."""

    key: str  # ARN
    context: Mapping[str, str]


class Cloud(Protocol):
    """The resources of the cloud."""

    def policy(self, arn: str) -> Policy | None:
        """Returns the policy of a bucket, queue, topic, key or secret, or a role's trust policy."""
        ...

    def tags(self, arn: str) -> Mapping[str, str]:
        """Returns the tags of an EMR cluster; others have none here."""
        ...

    def role_of_profile(self, account: str, profile: str) -> str | None:
        """Returns the ARN of the role in an instance profile, given its name or ARN."""
        ...

    def secret_arn(self, call: Call, secret: str) -> str:
        """Returns the ARN of a secret, given its name or ARN."""
        ...

    def key_arn(self, call: Call, key: str) -> str | None:
        """Returns the ARN of a KMS key, given its id, ARN or alias; None for one of AWS's own."""
        ...

    def has_object(self, bucket: str, key: str, version: str | None) -> bool:
        """Returns whether an object exists."""
        ...

    def object_key(self, bucket: str, key: str, version: str | None) -> KeyUse | None:
        """Returns the KMS key of an object."""
        ...

    def bucket_key(self, bucket: str, key: str) -> KeyUse | None:
        """Returns the KMS key that a bucket uses by default for an object."""
        ...

    def resource_key(self, arn: str) -> KeyUse | None:
        """Returns the KMS key of a queue, topic or secret."""
        ...

"""Objects in S3, as nodes fetch scripts and EMR copies logs."""

from typing import Any, Protocol
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from localstack_emr_msk.calls import Caller


class ObjectError(Exception):
    """An object that cannot be read or written: what and why, in one line."""


class Objects(Protocol):
    """Where scripts come from and logs go."""

    def read(self, uri: str) -> bytes:
        """The content; raises ``ObjectError``."""
        ...

    def write(self, uri: str, content: bytes) -> None:
        """Puts an object there; raises ``ObjectError``."""
        ...


def is_s3(uri: str) -> bool:
    """Whether an address is one of S3; EMR takes three schemes for the same."""
    return urlsplit(uri).scheme in ("s3", "s3a", "s3n")


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key; raises ``ObjectError`` when it is no address of S3."""
    parts = urlsplit(uri)
    if not is_s3(uri) or not parts.netloc:
        raise ObjectError(f"{uri} is not an address of S3 (s3://bucket/key)")
    # Not parts.path: keys may hold ? and #.
    return parts.netloc, uri.split("/", 3)[3] if uri.count("/") > 2 else ""


class S3Objects:
    """S3 of this LocalStack, as the account that the cluster belongs to."""

    def __init__(self, endpoint: str, caller: Caller) -> None:
        # A session of its own: boto3's default one must not be used by several threads.
        self._client: Any = boto3.session.Session(
            # LocalStack takes the key's id for the account.
            aws_access_key_id=caller.account,
            aws_secret_access_key="none",
            region_name=caller.region,
        ).client(
            "s3",
            endpoint_url=endpoint,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
        )

    def read(self, uri: str) -> bytes:
        """The content; raises ``ObjectError``."""
        bucket, key = split_uri(uri)
        try:
            content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(f"cannot read {uri}: {error}") from None
        return content

    def write(self, uri: str, content: bytes) -> None:
        """Puts an object there; raises ``ObjectError``."""
        bucket, key = split_uri(uri)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=content)
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(f"cannot write {uri}: {error}") from None

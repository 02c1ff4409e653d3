"""Objects in S3: scripts that nodes download, and logs that EMR uploads."""

from functools import cached_property
from typing import Any, Protocol
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import ContainerProvider
from botocore.exceptions import BotoCoreError, ClientError

from localstack_emr_msk.credentials import CREDENTIALS_VARIABLE


class ObjectError(Exception):
    """An object that cannot be read or written: what and why, in one line."""


class Objects(Protocol):
    """Reads scripts and writes logs."""

    def read(self, uri: str) -> bytes:
        """Returns the content; raises ``ObjectError``."""
        ...

    def write(self, uri: str, content: bytes) -> None:
        """Writes an object; raises ``ObjectError``."""
        ...


def is_s3(uri: str) -> bool:
    """Whether a URI is of S3; EMR accepts three schemes for it."""
    return urlsplit(uri).scheme in ("s3", "s3a", "s3n")


def split_uri(uri: str) -> tuple[str, str]:
    """Returns bucket and key; raises ``ObjectError`` when the URI is not of S3."""
    parts = urlsplit(uri)
    if not is_s3(uri) or not parts.netloc:
        raise ObjectError(f"{uri} is not an S3 URI (s3://bucket/key)")
    # Not parts.path: keys may contain ? and #.
    return parts.netloc, uri.split("/", 3)[3] if uri.count("/") > 2 else ""


class S3Objects:
    """S3 of this LocalStack, with the credentials that an address provides."""

    def __init__(self, endpoint: str, region: str, credentials: str) -> None:
        self._endpoint, self._region, self._credentials = endpoint, region, credentials

    @cached_property
    def _client(self) -> Any:
        # Only when needed: the address responds once the service that made the cluster has.
        provider = ContainerProvider(environ={CREDENTIALS_VARIABLE: self._credentials})
        session = botocore.session.Session()
        # boto3 has no parameter for credentials that are renewed.
        session._credentials = provider.load()
        return boto3.session.Session(botocore_session=session, region_name=self._region).client(
            "s3",
            endpoint_url=self._endpoint,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}),
        )

    def read(self, uri: str) -> bytes:
        """Returns the content; raises ``ObjectError``."""
        bucket, key = split_uri(uri)
        try:
            content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(f"cannot read {uri}: {error}") from None
        return content

    def write(self, uri: str, content: bytes) -> None:
        """Writes an object; raises ``ObjectError``."""
        bucket, key = split_uri(uri)
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=content)
        except (ClientError, BotoCoreError) as error:
            raise ObjectError(f"cannot write {uri}: {error}") from None

"""AWS clients for the commands; AWS_ENDPOINT_URL points them at the local cloud."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ProfileNotFound

from superres.errors import PrerequisiteError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_emr import EMRClient
    from types_boto3_iam import IAMClient
    from types_boto3_kafka import KafkaClient
    from types_boto3_s3 import S3Client
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_sts import STSClient


@dataclass(frozen=True)
class Clients:
    """One client of each service, for one region."""

    ec2: "EC2Client"
    emr: "EMRClient"
    iam: "IAMClient"
    kafka: "KafkaClient"
    quotas: "ServiceQuotasClient"
    s3: "S3Client"
    stepfunctions: "SFNClient"
    sts: "STSClient"


def make_clients(region: str) -> Clients:
    """Creates clients with the caller's credentials; raises ``PrerequisiteError`` if it cannot."""
    try:
        session = boto3.session.Session(region_name=region)
    except ProfileNotFound as error:
        raise PrerequisiteError(f"{error}; run aws configure, or unset AWS_PROFILE") from None
    # EMR's request limit is per account and low; "standard" backs off exponentially. An address
    # that does not answer takes half a minute, not three.
    config = Config(retries={"mode": "standard"}, connect_timeout=10, read_timeout=60)
    try:
        return Clients(
            session.client("ec2", config=config),
            session.client("emr", config=config),
            session.client("iam", config=config),
            session.client("kafka", config=config),
            session.client("service-quotas", config=config),
            session.client("s3", config=config),
            session.client("stepfunctions", config=config),
            session.client("sts", config=config),
        )
    except ValueError as error:
        raise PrerequisiteError(
            f"{error}; unset AWS_ENDPOINT_URL, or set it to an address such as http://127.0.0.1:4566"
        ) from None

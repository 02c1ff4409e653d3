"""The clients of AWS that the commands use; AWS_ENDPOINT_URL leads them to the local cloud."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ProfileNotFound

from superres.errors import PrerequisiteError

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_emr import EMRClient
    from types_boto3_s3 import S3Client
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_stepfunctions import SFNClient
    from types_boto3_sts import STSClient


@dataclass(frozen=True)
class Clients:
    """One of each, for one region."""

    ec2: "EC2Client"
    emr: "EMRClient"
    quotas: "ServiceQuotasClient"
    s3: "S3Client"
    states: "SFNClient"
    sts: "STSClient"


def make_clients(region: str) -> Clients:
    """Clients with the credentials of whoever runs this."""
    try:
        session = boto3.session.Session(region_name=region)
    except ProfileNotFound as error:
        raise PrerequisiteError(f"{error}; run aws configure, or unset AWS_PROFILE") from None
    # EMR's limit of questions is per account and low; "standard" waits longer each time.
    config = Config(retries={"mode": "standard"})
    try:
        return Clients(
            session.client("ec2", config=config),
            session.client("emr", config=config),
            session.client("service-quotas", config=config),
            session.client("s3", config=config),
            session.client("stepfunctions", config=config),
            session.client("sts", config=config),
        )
    except ValueError as error:
        raise PrerequisiteError(
            f"{error}; unset AWS_ENDPOINT_URL, or give it an address such as http://127.0.0.1:4566"
        ) from None

"""Checks before anything is built or deployed: credentials, region, quotas and release label.

Each finding is one line with its remedy. A check that AWS does not permit (no access to Service
Quotas, say) stops nothing: it becomes a warning.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from deploy.environments import Environment
from superres.errors import PrerequisiteError
from superres.service.addresses import is_loopback

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_emr import EMRClient
    from types_boto3_service_quotas import ServiceQuotasClient
    from types_boto3_sts import STSClient

# Service Quotas names them "All G and VT Spot Instance Requests" and "Running On-Demand G and VT
# instances"; both count vCPUs. A new account begins with 0.
SPOT_QUOTA, ON_DEMAND_QUOTA = "L-3819A6DF", "L-DB2E81BA"
# "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"; new accounts have few.
STANDARD_QUOTA = "L-1216C47A"
_STANDARD = re.compile(r"(a|c|d|h|i|im|is|m|r|t|z)\d")  # not trn1, mac1 and the like


@dataclass(frozen=True)
class Group:
    """On-demand instances, each of one of these types."""

    instance_types: tuple[str, ...]
    instances: int


@dataclass(frozen=True)
class Fleets:
    """The instances that an environment's values ask for."""

    release_label: str
    instance_types: tuple[str, ...]  # of EMR
    gpu_types: tuple[str, ...]  # none: inference runs on CPUs
    gpu_instances: int
    on_demand: tuple[Group, ...]  # primary, core, ingestion, notifier


@dataclass(frozen=True)
class Finding:
    """A problem; ``stops`` is whether it must be fixed first."""

    line: str
    stops: bool = True


def check_region(environment: Environment, variables: Mapping[str, str] = os.environ) -> None:
    """Raises ``PrerequisiteError`` when the shell is set to another region than the values."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if variables.get(name, environment.region) != environment.region:
            raise PrerequisiteError(
                f"{name} is {variables[name]}, but {environment.values.name} has "
                f"{environment.region}; unset {name}, or change the region there"
            )


def check_endpoint(environment: Environment, endpoint: str) -> None:
    """Raises ``PrerequisiteError`` when ENV=local would use AWS, or another ENV LocalStack.

    LocalStack would report that nothing is deployed, although it is on AWS.
    """
    host = urlsplit(endpoint).hostname or ""
    local = is_loopback(host) or host.endswith(".localstack.cloud")  # resolves to 127.0.0.1
    if environment.name != "local" and local:
        raise PrerequisiteError(
            f"ENV={environment.name} is for AWS, but this shell uses {endpoint}; unset "
            "AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY, or use ENV=local"
        )
    if environment.name == "local" and host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        raise PrerequisiteError(
            "ENV=local is for LocalStack, but this shell uses AWS; run make local-up, then export "
            "AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=test "
            "AWS_SECRET_ACCESS_KEY=test"
        )


def check_credentials(sts: "STSClient", environment: Environment) -> str:
    """Returns the account; raises ``PrerequisiteError`` when credentials are missing or fail."""
    try:
        return sts.get_caller_identity()["Account"]
    except NoCredentialsError:
        raise PrerequisiteError(
            "no AWS credentials; run aws configure, or set AWS_PROFILE or AWS_ACCESS_KEY_ID"
        ) from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise PrerequisiteError(
            f"AWS refuses the credentials in {environment.region} ({code}); log in again, and "
            "check that this region is enabled for the account"
        ) from None
    except BotoCoreError as error:
        remedy = "check the network, the region's name and AWS_PROFILE"
        if environment.name == "local":
            remedy = "start LocalStack with make local-up"
        raise PrerequisiteError(
            f"AWS cannot be reached in {environment.region} ({error}); {remedy}"
        ) from None
    # A web page instead of a response; botocore raises KeyError if the page is well-formed XML.
    except (ResponseParserError, KeyError):
        raise PrerequisiteError(
            f"the response for {environment.region} is not from AWS; check AWS_ENDPOINT_URL, and "
            "whether a proxy or a login page of the network is in between"
        ) from None


def findings(
    fleets: Fleets, emr: "EMRClient", ec2: "EC2Client", quotas: "ServiceQuotasClient"
) -> Iterator[Finding]:
    """Yields the problems that these fleets would meet, and the checks that could not be made."""
    yield from _checked("the release label", lambda: _label_findings(fleets, emr))
    yield from _checked("the on-demand quota", lambda: _standard_findings(fleets, ec2, quotas))
    if fleets.gpu_types:
        yield from _checked("the GPU quotas", lambda: _quota_findings(fleets, ec2, quotas))


def _checked(subject: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except (ClientError, BotoCoreError) as error:
        return [Finding(f"{subject} could not be checked ({error})", stops=False)]


def _label_findings(fleets: Fleets, emr: "EMRClient") -> Iterator[Finding]:
    supported: set[str] = set()
    marker: dict[str, str] = {}
    while True:
        answer = emr.list_supported_instance_types(ReleaseLabel=fleets.release_label, **marker)
        supported |= {each["Type"] for each in answer["SupportedInstanceTypes"] if "Type" in each}
        if not answer.get("Marker"):
            break
        marker = {"Marker": answer["Marker"]}
    missing = [kind for kind in fleets.instance_types if kind not in supported]
    if missing:
        yield Finding(
            f"{fleets.release_label} does not have {', '.join(missing)} in this region; choose "
            "other instance types or another release label in the environment's values"
        )


def _standard_findings(
    fleets: Fleets, ec2: "EC2Client", quotas: "ServiceQuotasClient"
) -> Iterator[Finding]:
    """Checks the on-demand quota; EMR may choose any of several types, so the largest counts."""
    groups = [
        (tuple(kind for kind in group.instance_types if _STANDARD.match(kind)), group.instances)
        for group in fleets.on_demand
    ]
    vcpus = _vcpus(ec2, [kind for kinds, _ in groups for kind in kinds])
    needed = sum(max(vcpus[kind] for kind in kinds) * count for kinds, count in groups if kinds)
    value = _quota(quotas, STANDARD_QUOTA)
    if value < needed:
        yield Finding(
            "the quota 'Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances' is "
            f"{value:.0f} vCPUs, cluster and services need {needed}: request that many in the "
            f"console (Service Quotas, EC2, {STANDARD_QUOTA}), or choose fewer or smaller "
            "instances in the environment's values"
        )


def _vcpus(ec2: "EC2Client", kinds: Iterable[str]) -> dict[str, int]:
    """Returns the vCPUs of each instance type."""
    wanted: Any = list(dict.fromkeys(kinds))
    found = ec2.describe_instance_types(InstanceTypes=wanted)["InstanceTypes"]
    return {kind["InstanceType"]: kind["VCpuInfo"]["DefaultVCpus"] for kind in found}


def _quota(quotas: "ServiceQuotasClient", code: str) -> float:
    return quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]


def _quota_findings(
    fleets: Fleets, ec2: "EC2Client", quotas: "ServiceQuotasClient"
) -> Iterator[Finding]:
    """Checks that spot fits the whole fleet, and on-demand one instance.

    Managed scaling may buy one on demand (``scaling`` in infra/modules/processing/cluster.tf).
    """
    each = max(_vcpus(ec2, fleets.gpu_types).values())
    needed = each * fleets.gpu_instances
    for code, name, least in (
        (SPOT_QUOTA, "All G and VT Spot Instance Requests", needed),
        (ON_DEMAND_QUOTA, "Running On-Demand G and VT instances", each),
    ):
        value = _quota(quotas, code)
        if value < each:
            yield Finding(
                f"the quota {name!r} is {value:.0f} vCPUs, one GPU instance needs {each}: request "
                f"{least} in the console (Service Quotas, EC2, {code})"
            )
        elif value < least:
            yield Finding(
                f"the quota {name!r} is {value:.0f} vCPUs, {fleets.gpu_instances} GPU instances "
                f"need {needed}: request that many in the console (Service Quotas, EC2, {code}), "
                f"or lower their number to {value // each:.0f} in the environment's values"
            )

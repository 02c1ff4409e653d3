"""What is looked at before anything is packed or made: credentials, region, quotas, release label.

Each finding is one line with its remedy. A question that AWS does not let us ask (no permission for
Service Quotas, say) stops nothing: it is told as a warning.
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
    """Instances on demand, each of one of these types."""

    instance_types: tuple[str, ...]
    instances: int


@dataclass(frozen=True)
class Fleets:
    """The instances that an environment asks for, as its values say."""

    release_label: str
    instance_types: tuple[str, ...]  # of EMR
    gpu_types: tuple[str, ...]  # none: inference runs on CPUs
    gpu_instances: int
    on_demand: tuple[Group, ...]  # primary, core, ingestion, notifier


@dataclass(frozen=True)
class Finding:
    """What is wrong; ``stops`` says whether it must be put right first."""

    line: str
    stops: bool = True


def check_region(environment: Environment, variables: Mapping[str, str] = os.environ) -> None:
    """Raises ``PrerequisiteError`` when the shell asks for another region than the values do."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if variables.get(name, environment.region) != environment.region:
            raise PrerequisiteError(
                f"{name} is {variables[name]}, but {environment.values.name} says "
                f"{environment.region}; unset {name}, or change the region there"
            )


def check_place(environment: Environment, endpoint: str) -> None:
    """Raises ``PrerequisiteError`` when what is meant for the local cloud would go to AWS.

    Or the other way round: LocalStack would say of what runs on AWS that there is nothing.
    """
    host = urlsplit(endpoint).hostname or ""
    here = is_loopback(host) or host.endswith(".localstack.cloud")  # which leads to 127.0.0.1
    if environment.name != "local" and here:
        raise PrerequisiteError(
            f"ENV={environment.name} is for AWS and this shell leads to {endpoint}; unset "
            "AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY, or say ENV=local"
        )
    if environment.name == "local" and host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        raise PrerequisiteError(
            "ENV=local is for LocalStack and this shell leads to AWS; make local-up, then export "
            "AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=test "
            "AWS_SECRET_ACCESS_KEY=test"
        )


def check_credentials(sts: "STSClient", environment: Environment) -> str:
    """The account; raises ``PrerequisiteError`` when there are no credentials or they fail."""
    try:
        return sts.get_caller_identity()["Account"]
    except NoCredentialsError:
        raise PrerequisiteError(
            "no AWS credentials; run aws configure, or set AWS_PROFILE or AWS_ACCESS_KEY_ID"
        ) from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise PrerequisiteError(
            f"AWS refuses the credentials in {environment.region} ({code}); log in again, and see "
            "that the account has this region enabled"
        ) from None
    except BotoCoreError as error:
        remedy = "check the network, the region's name and AWS_PROFILE"
        if environment.name == "local":
            remedy = "start LocalStack with make local-up"
        raise PrerequisiteError(
            f"AWS cannot be reached in {environment.region} ({error}); {remedy}"
        ) from None
    # A page in place of an answer; botocore raises KeyError where the page is well-formed XML.
    except (ResponseParserError, KeyError):
        raise PrerequisiteError(
            f"what answers for {environment.region} is not AWS; check AWS_ENDPOINT_URL, and "
            "whether a proxy or a login page of the network stands between"
        ) from None


def findings(
    fleets: Fleets, emr: "EMRClient", ec2: "EC2Client", quotas: "ServiceQuotasClient"
) -> Iterator[Finding]:
    """What stands in the way of these fleets, and what could not be asked."""
    yield from _asked("the release label", lambda: _label_findings(fleets, emr))
    yield from _asked("the on-demand quota", lambda: _standard_findings(fleets, ec2, quotas))
    if fleets.gpu_types:
        yield from _asked("the GPU quotas", lambda: _quota_findings(fleets, ec2, quotas))


def _asked(what: str, ask: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(ask())
    except (ClientError, BotoCoreError) as error:
        return [Finding(f"{what} could not be checked ({error})", stops=False)]


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
            f"{fleets.release_label} does not have {', '.join(missing)} in this region; name other "
            "instance types or another release label in the environment's values"
        )


def _standard_findings(
    fleets: Fleets, ec2: "EC2Client", quotas: "ServiceQuotasClient"
) -> Iterator[Finding]:
    """Of several types EMR takes whichever it likes, so the largest counts."""
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
            f"{value:.0f} vCPUs, cluster and services have {needed}: ask for that many in the "
            f"console (Service Quotas, EC2, {STANDARD_QUOTA}), or name fewer or smaller instances "
            "in the environment's values"
        )


def _vcpus(ec2: "EC2Client", kinds: Iterable[str]) -> dict[str, int]:
    """The vCPUs of each type of instance."""
    wanted: Any = list(dict.fromkeys(kinds))
    found = ec2.describe_instance_types(InstanceTypes=wanted)["InstanceTypes"]
    return {kind["InstanceType"]: kind["VCpuInfo"]["DefaultVCpus"] for kind in found}


def _quota(quotas: "ServiceQuotasClient", code: str) -> float:
    return quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"]


def _quota_findings(
    fleets: Fleets, ec2: "EC2Client", quotas: "ServiceQuotasClient"
) -> Iterator[Finding]:
    """Spot must hold the whole fleet; on-demand, to which it switches over, should."""
    each = max(_vcpus(ec2, fleets.gpu_types).values())
    needed = each * fleets.gpu_instances
    for code, name, least in (
        (SPOT_QUOTA, "All G and VT Spot Instance Requests", needed),
        (ON_DEMAND_QUOTA, "Running On-Demand G and VT instances", each),
    ):
        value = _quota(quotas, code)
        if value < each:
            yield Finding(
                f"the quota {name!r} is {value:.0f} vCPUs, one GPU instance has {each}: ask for "
                f"{needed} in the console (Service Quotas, EC2, {code})",
                stops=code == SPOT_QUOTA,
            )
        elif value < least:
            yield Finding(
                f"the quota {name!r} is {value:.0f} vCPUs, {fleets.gpu_instances} GPU instances "
                f"have {needed}: ask for that many in the console (Service Quotas, EC2, {code}), "
                f"or lower their number to {value // each:.0f} in the environment's values"
            )

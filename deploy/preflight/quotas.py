"""Whether the account's quotas have room for the instances, also while a cluster is replaced."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deploy.preflight.finding import Finding
from deploy.preflight.needs import Group, Needs

if TYPE_CHECKING:
    from types_boto3_ec2 import EC2Client
    from types_boto3_service_quotas import ServiceQuotasClient


@dataclass(frozen=True)
class Quota:
    """A quota of EC2; it counts the vCPUs of all running instances of these families."""

    code: str
    name: str
    families: str


# Families as the names list them; x2idn, trn1 and mac1 have quotas of their own. A new account
# begins with 0 of G and VT, and with few of the standard ones.
# https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
_STANDARD, _GPU = r"(a|c|d|h|i|im|is|m|r|t|z)\d", r"(g|vt)\d"
ON_DEMAND = Quota(
    "L-1216C47A",
    "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    _STANDARD,
)
SPOT = Quota(
    "L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests", _STANDARD
)
GPU_ON_DEMAND = Quota("L-DB2E81BA", "Running On-Demand G and VT instances", _GPU)
GPU_SPOT = Quota("L-3819A6DF", "All G and VT Spot Instance Requests", _GPU)


@dataclass(frozen=True)
class Demand:
    """The vCPUs that count towards a quota.

    Attributes:
        least: without so many nothing works.
        full: when everything runs that the values allow.
        replacing: when a release starts new instances, and a second persistent cluster, before the
            old ones are terminated.
    """

    least: int
    full: int
    replacing: int


def quota_findings(
    needs: Needs, ec2: "EC2Client", quotas: "ServiceQuotasClient"
) -> Iterator[Finding]:
    """Yields the quotas that are too small."""
    kinds = [
        kind
        for group in (*needs.cluster, *needs.services)
        for kind in group.instance_types
        if any(re.match(quota.families, kind) for quota in (ON_DEMAND, GPU_SPOT))
    ]
    vcpus = _vcpus(ec2, kinds)
    for quota, demand in _demands(needs, vcpus):
        if demand.full:
            yield from _compared(quota, demand, _value(quota, quotas), needs)


def _demands(needs: Needs, vcpus: dict[str, int]) -> Iterator[tuple[Quota, Demand]]:
    """Yields what each quota must have room for.

    Managed scaling may buy one task instance on demand (``scaling`` in
    infra/modules/processing/cluster.tf); a new cluster starts with one on spot.
    """
    clusters = 2 if needs.persistent else 1
    task = needs.task if needs.task.instances else Group("task", (), 0)
    one = Group("task", task.instance_types, min(task.instances, 1))

    def total(quota: Quota, groups: Iterable[Group], times: int = 1) -> int:
        return times * sum(_most(group, quota, vcpus) for group in groups)

    for on_demand, spot in ((ON_DEMAND, SPOT), (GPU_ON_DEMAND, GPU_SPOT)):
        services = total(on_demand, needs.services)
        fixed = total(on_demand, (needs.primary, needs.core, one))
        yield (
            on_demand,
            # An instance refresh starts new instances before it stops old ones (modules/service).
            Demand(services + fixed, services + fixed, 2 * services + clusters * fixed),
        )
        single, full = total(spot, (one,)), total(spot, (task,))
        yield spot, Demand(single, full, full + (clusters - 1) * single)


def _most(group: Group, quota: Quota, vcpus: dict[str, int]) -> int:
    """Returns the vCPUs that a group may take: EMR may choose any type, so the largest counts."""
    counted = [vcpus[kind] for kind in group.instance_types if re.match(quota.families, kind)]
    return max(counted, default=0) * group.instances


def _compared(quota: Quota, demand: Demand, value: float, needs: Needs) -> Iterator[Finding]:
    has = f"the quota {quota.name!r} is {value:.0f} vCPUs"
    console = f"in the console (Service Quotas, EC2, {quota.code})"
    if value < demand.least:
        yield Finding(
            f"{has}, {_users(quota)} {demand.least}: request {demand.replacing} {console}, or "
            "choose fewer or smaller instances in the environment's values"
        )
    elif value < demand.full:
        fewer = int(value // (demand.full // needs.task.instances))
        yield Finding(
            f"{has}, {needs.task.instances} task instances need {demand.full}: request "
            f"{demand.replacing} {console}, or set gpu.max_instances to {fewer} in the "
            "environment's values"
        )
    elif value < demand.replacing:
        yield Finding(
            f"{has}, and a later release needs {demand.replacing}, because new instances start "
            f"before old ones stop: request {demand.replacing} {console} before that",
            stops=False,
        )


def _users(quota: Quota) -> str:
    return {
        ON_DEMAND: "cluster and services need",
        GPU_ON_DEMAND: "one GPU instance needs",
        GPU_SPOT: "one GPU instance needs",
    }.get(quota, "one task instance needs")


def _value(quota: Quota, quotas: "ServiceQuotasClient") -> float:
    """Returns the account's value, or the default where no own value is kept.

    https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html
    """
    try:
        found = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=quota.code)
        return found["Quota"]["Value"]
    except quotas.exceptions.NoSuchResourceException:
        default = quotas.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=quota.code)
        return default["Quota"]["Value"]


def _vcpus(ec2: "EC2Client", kinds: Iterable[str]) -> dict[str, int]:
    """Returns the vCPUs of each instance type."""
    wanted: Any = list(dict.fromkeys(kinds))
    found = ec2.describe_instance_types(InstanceTypes=wanted)["InstanceTypes"]
    return {kind["InstanceType"]: kind["VCpuInfo"]["DefaultVCpus"] for kind in found}

"""Whether EMR has the release label in this region, and the instance types for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deploy.preflight.finding import Finding, listed
from deploy.preflight.needs import Needs

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient

# What EMR answers to a label that it does not know. Its reference names the first; the second is
# the code that its other operations give for a wrong value.
# https://docs.aws.amazon.com/emr/latest/APIReference/API_ListSupportedInstanceTypes.html
_UNKNOWN = ("InvalidRequestException", "ValidationException")


def release_findings(needs: Needs, emr: "EMRClient") -> Iterator[Finding]:
    """Yields a label that is unknown, or the instance types that it lacks."""
    label = needs.release_label
    try:
        supported = _supported_types(label, emr)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _UNKNOWN:
            raise
        yield Finding(
            f"EMR does not have {label} in {emr.meta.region_name}; choose another release_label "
            "in the environment's values (aws emr list-release-labels lists them)"
        )
        return
    missing = [
        kind for fleet in needs.cluster for kind in fleet.instance_types if kind not in supported
    ]
    if missing:
        yield Finding(
            f"{label} does not have {listed(missing)} in this region; choose other instance types "
            "or another release label in the environment's values"
        )


def _supported_types(label: str, emr: "EMRClient") -> set[str]:
    supported: set[str] = set()
    marker: dict[str, str] = {}
    while True:
        answer = emr.list_supported_instance_types(ReleaseLabel=label, **marker)
        supported |= {each["Type"] for each in answer["SupportedInstanceTypes"] if "Type" in each}
        if not answer.get("Marker"):
            return supported
        marker = {"Marker": answer["Marker"]}

"""EMR's release labels, and the instance types that it supports."""

import re
from collections.abc import Iterator

from localstack_emr_msk.calls import Response
from localstack_emr_msk.errors import validation

# The newest minor version of each line (2026). From 8 on the label names the application.
_NEWEST = {"emr-5": 36, "emr-6": 15, "emr-7": 14, "emr-spark-8": 1}
_LABEL = re.compile(r"(emr-(?:spark-)?\d+)\.(\d+)\.(\d+)")

# GiB of memory per virtual CPU, by family: the common ones, not all of EMR's.
_FAMILIES = {
    **dict.fromkeys(("c5", "c5d", "c6i", "c6id", "c6g", "c7i", "c7g"), 2.0),
    **dict.fromkeys(("m4", "m5", "m5a", "m5d", "m6i", "m6id", "m6g", "m7i", "m7g", "m8g"), 4.0),
    **dict.fromkeys(("r4", "r5", "r5a", "r5d", "r6i", "r6id", "r6g", "r7i", "r7g"), 8.0),
    **dict.fromkeys(("i3", "i3en", "i4i"), 8.0),
    **dict.fromkeys(("g4dn", "g5", "g6"), 4.0),
    "p3": 7.625,
}
_SIZES = {"xlarge": 4} | {f"{times}xlarge": 4 * times for times in (2, 4, 8, 12, 16, 24)}


def check_label(label: str | None) -> None:
    """Raises ``ServiceError`` for a label that EMR does not have."""
    match = _LABEL.fullmatch(label or "")
    if match is None or int(match[2]) > _NEWEST.get(match[1], -1):
        raise validation(f"The supplied release label is invalid: {label}.")


def application_version(label: str, name: str) -> str:
    """Returns the version of an application in a release; empty where not known here."""
    versions = {
        ("emr-spark-8.1.0", "spark"): "4.1.1-amzn-0",
        ("emr-7.14.0", "spark"): "3.5.8-amzn-0",
        ("emr-7.14.0", "hadoop"): "3.4.2-amzn-0",
    }
    return versions.get((label, name.lower()), "")


def instance_types() -> Iterator[Response]:
    """Yields the entries of ListSupportedInstanceTypes."""
    for family, ratio in _FAMILIES.items():
        for size, cores in _SIZES.items():
            yield {
                "Type": f"{family}.{size}",
                "InstanceFamilyId": family,
                "VCPU": cores,
                "MemoryGB": cores * ratio,
                "StorageGB": 0,
                "Is64BitsOnly": True,
                "EbsOptimizedAvailable": True,
                "EbsOptimizedByDefault": True,
                "NumberOfDisks": 0,
                "EbsStorageOnly": "d" not in family and not family.startswith("i"),
                "Architecture": "ARM64" if family.endswith("g") else "X86_64",
            }

"""The definition of the state machine, rendered as Terraform does."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

from tests.support.paths import ROOT

_TEMPLATE = ROOT / "infra/modules/orchestration/pipeline.asl.json"
JOBS = ("mass_split", "batch_inference", "mass_reconstruct", "evaluate")
Lifecycle = Literal["persistent", "transient"]


def rendered(lifecycle: Lifecycle = "persistent", raw_bucket: str = "raw") -> dict[str, Any]:
    """Returns the definition with example values."""
    values = {
        "cluster_lifecycle": lifecycle,
        "cluster_id": "j-1" if lifecycle == "persistent" else "",
        "cluster": json.dumps({"Name": "test", "Instances": {}}),
        "default_scale": "2",
        "log_uri": "s3://logs/emr/",
        "raw_bucket": raw_bucket,
        "work_bucket": "work",
        "step_seconds": "600",
    } | {job: f"'spark-submit', '{job}.py'" for job in JOBS}
    text = re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], _TEMPLATE.read_text())
    definition: dict[str, Any] = json.loads(text)
    return definition


def machines(definition: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the definition and those inside its Map states; each has StartAt and States."""
    yield definition
    for state in definition["States"].values():
        if state["Type"] == "Map":
            yield from machines(state["ItemProcessor"])

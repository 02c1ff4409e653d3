"""EMR steps: submitting one by hand, following it, and finding its log."""

import gzip
import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deploy.callbacks import Pause, Report
from deploy.environments import Deployed
from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.layout import dataset_in, layout_of

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_emr.literals import ClusterStateType
    from types_boto3_s3 import S3Client

# EMR limits requests per account; Step Functions itself polls every 60 s.
POLL_SECONDS = 10.0
_FINAL = {"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"}
_ACCEPTS_STEPS: tuple["ClusterStateType", ...] = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")


@dataclass(frozen=True)
class StepStatus:
    """The state of a step; ``reason`` is EMR's, where it failed."""

    state: str
    reason: str = ""
    seconds: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in _FINAL

    @property
    def summary(self) -> str:
        """The state as one line, with duration and reason."""
        line = self.state.lower()
        if self.ended and self.seconds is not None:
            line += f" after {format_duration(self.seconds)}"
        return f"{line}: {self.reason}" if self.reason else line


@dataclass(frozen=True)
class Step:
    """A step of a cluster."""

    cluster: str
    id: str

    def log(self, log_uri: str, stream: str = "stderr") -> str:
        """The URI to which EMR copies a stream ("stderr" or "stdout") within some minutes."""
        return f"{log_uri.rstrip('/')}/{self.cluster}/steps/{self.id}/{stream}.gz"


def step_status(emr: "EMRClient", step: Step) -> StepStatus:
    """Asks EMR for the state of a step."""
    status = emr.describe_step(ClusterId=step.cluster, StepId=step.id)["Step"]["Status"]
    details = status.get("FailureDetails", {})
    reasons = [details.get("Reason"), details.get("Message")]
    if not any(reasons):
        reasons = [status.get("StateChangeReason", {}).get("Message")]
    if status["State"] == "COMPLETED":
        reasons = []
    timeline = status.get("Timeline", {})
    started, ended = timeline.get("StartDateTime"), timeline.get("EndDateTime")
    return StepStatus(
        status["State"],
        " ".join(dict.fromkeys(part for part in reasons if part)),
        (ended - started).total_seconds() if started and ended else None,
    )


def follow_step(
    emr: "EMRClient",
    step: Step,
    name: str,
    log_uri: str,
    report: Report,
    pause: Pause = time.sleep,
) -> StepStatus:
    """Reports each change of a step until it ends."""
    reported = ""
    while True:
        status = step_status(emr, step)
        if status.summary != reported:
            log = f"; log {step.log(log_uri)}" if status.state == "RUNNING" or status.ended else ""
            report(f"{name}: {status.summary}{log}")
            reported = status.summary
        if status.ended:
            return status
        pause(POLL_SECONDS)


def submit_step(
    emr: "EMRClient",
    deployed: Deployed,
    job: str,
    job_arguments: Sequence[str],
    cluster: str | None,
) -> Step:
    """Adds a step as the state machine does, with the same arguments of spark-submit.

    Raises ``ConfigError`` for an unknown job and ``PrerequisiteError`` when the cluster accepts no
    steps.
    """
    steps: dict[str, list[str]] = deployed["steps"]
    if job not in steps:
        raise ConfigError(f"JOB={job}: no such job; there are {', '.join(sorted(steps))}")
    cluster = cluster or deployed.get("cluster_id")
    if not cluster:
        raise ConfigError(
            "CLUSTER is missing: with cluster_lifecycle transient there is no cluster between "
            "runs; make status lists those that are up"
        )
    state = emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]
    if state not in _ACCEPTS_STEPS:
        raise PrerequisiteError(
            f"cluster {cluster} is {state.lower()} and accepts no steps; run make deploy, which "
            "creates a new one, or choose another with CLUSTER="
        )
    answer = emr.add_job_flow_steps(
        JobFlowId=cluster,
        Steps=[
            {
                "Name": job,
                # A failed step must not terminate the cluster.
                "ActionOnFailure": "CONTINUE",
                "HadoopJarStep": {
                    "Jar": "command-runner.jar",
                    "Args": [*steps[job], *job_arguments],
                },
            }
        ],
    )
    return Step(cluster, answer["StepIds"][0])


def check_run(
    run_id: str | None, scale: int | None, ingest_date: str | None, start_id: str | None = None
) -> None:
    """Raises ``ConfigError`` for a run that no job would accept, before any call to AWS."""
    day = None
    if ingest_date is not None:
        # date.fromisoformat accepts 20260131 too; folders are named 2026-01-31 only.
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", ingest_date):
            raise ConfigError(f"INGEST_DATE (--ingest-date) {ingest_date!r}: write 2026-01-31")
        try:
            day = date.fromisoformat(ingest_date)
        except ValueError as error:
            raise ConfigError(f"INGEST_DATE (--ingest-date) {ingest_date!r}: {error}") from None
    if run_id is not None:
        try:
            layout_of(dataset_in("."), run_id, scale, day, start_id)
        except ConfigError as error:
            raise ConfigError(f"RUN_ID: {error}") from None


def job_arguments(
    run_id: str,
    scale: int | None,
    ingest_date: str | None,
    start_id: str | None = None,
    *,
    redo: bool,
) -> list[str]:
    """Returns the arguments of a job after ``--config``."""
    arguments = ["--run-id", run_id]
    if scale is not None:
        arguments += ["--scale", str(scale)]
    if ingest_date is not None:
        arguments += ["--ingest-date", ingest_date]
    if start_id is not None:
        arguments += ["--start-id", start_id]
    return [*arguments, "--redo"] if redo else arguments


def report_uri(deployed: Deployed, job: str, run_id: str, now: datetime) -> str:
    """Where a job that a person submits writes its counts; beside those of the state machine."""
    bucket = deployed["buckets"]["work"]
    return f"s3://{bucket}/run_id={run_id}/reports/{job}-{now:%Y%m%dT%H%M%SZ}.json"


def read_counts(s3: "S3Client", uri: str) -> str:
    """What a job counted, as ``3 images, 0 rejected``; empty if that cannot be read."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        line = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except (ClientError, ValueError):
        return ""  # the job is done all the same; its log has the line, too
    counts = {name: count for name, count in line.items() if isinstance(count, int)}
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def text_of_log(content: bytes) -> str:
    """Decodes a log of EMR, compressed or not."""
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace")


def application_of(text: str) -> str | None:
    """Finds the YARN application in a step's standard error; its containers have logs too."""
    found = re.search(r"application_\d+_\d+", text)
    return found[0] if found else None


def live_clusters(emr: "EMRClient", name: str) -> Iterator[tuple[str, str, str]]:
    """Yields id, name and state of every cluster of an environment that is not terminated."""
    for page in emr.get_paginator("list_clusters").paginate(
        ClusterStates=[*_ACCEPTS_STEPS, "TERMINATING"]
    ):
        for cluster in page["Clusters"]:
            # superres-dev must not match superres-dev2, which belongs to another environment.
            if re.fullmatch(rf"{re.escape(name)}(-.*)?", cluster["Name"]):
                yield cluster["Id"], cluster["Name"], cluster["Status"]["State"]


def format_duration(seconds: float) -> str:
    """Formats a duration."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02} s"

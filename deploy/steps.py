"""EMR steps: submitting one by hand, telling how it stands, and where its log lies."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from deploy.environments import Deployed
from superres.errors import ConfigError, PrerequisiteError
from superres.pipeline.layout import dataset_in, layout_of

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_emr.literals import ClusterStateType

Tell = Callable[[str], None]
Pause = Callable[[float], None]

POLL_SECONDS = (
    10.0  # EMR counts every question of the account; Step Functions itself asks each 60 s
)
_OVER = {"COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED"}
_TAKES_STEPS: tuple["ClusterStateType", ...] = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")


@dataclass(frozen=True)
class StepStatus:
    """How a step stands; ``reason`` is EMR's, where it failed."""

    state: str
    reason: str = ""
    seconds: float | None = None

    @property
    def over(self) -> bool:
        """Whether it will change no more."""
        return self.state in _OVER

    @property
    def told(self) -> str:
        """In words."""
        words = self.state.lower()
        if self.over and self.seconds is not None:
            words += f" after {minutes(self.seconds)}"
        return f"{words}: {self.reason}" if self.reason else words


@dataclass(frozen=True)
class Step:
    """A step of a cluster."""

    cluster: str
    id: str

    def log(self, log_uri: str, stream: str = "stderr") -> str:
        """Where EMR puts what it wrote to standard error (or "stdout"), some minutes later."""
        return f"{log_uri.rstrip('/')}/{self.cluster}/steps/{self.id}/{stream}.gz"


def step_status(emr: "EMRClient", step: Step) -> StepStatus:
    """Asks EMR."""
    status = emr.describe_step(ClusterId=step.cluster, StepId=step.id)["Step"]["Status"]
    details = status.get("FailureDetails", {})
    told = [details.get("Reason"), details.get("Message")]
    if not any(told):
        told = [status.get("StateChangeReason", {}).get("Message")]
    if status["State"] == "COMPLETED":
        told = []
    timeline = status.get("Timeline", {})
    started, ended = timeline.get("StartDateTime"), timeline.get("EndDateTime")
    return StepStatus(
        status["State"],
        " ".join(dict.fromkeys(part for part in told if part)),
        (ended - started).total_seconds() if started and ended else None,
    )


def follow_step(
    emr: "EMRClient",
    step: Step,
    name: str,
    log_uri: str,
    tell: Tell,
    pause: Pause = time.sleep,
) -> StepStatus:
    """Tells each change of a step until it is over."""
    before = ""
    while True:
        status = step_status(emr, step)
        if status.told != before:
            where = f"; log {step.log(log_uri)}" if status.state == "RUNNING" or status.over else ""
            tell(f"{name}: {status.told}{where}")
            before = status.told
        if status.over:
            return status
        pause(POLL_SECONDS)


def submit_step(
    emr: "EMRClient",
    deployed: Deployed,
    job: str,
    job_arguments: Sequence[str],
    cluster: str | None,
) -> Step:
    """Adds a step as the state machine would, with the same arguments of spark-submit.

    Raises ``ConfigError`` for a job that is not there and ``PrerequisiteError`` when the cluster
    takes no steps.
    """
    steps: dict[str, list[str]] = deployed["steps"]
    if job not in steps:
        raise ConfigError(f"JOB={job}: no such job; there are {', '.join(sorted(steps))}")
    cluster = cluster or deployed.get("cluster_id")
    if not cluster:
        raise ConfigError(
            "CLUSTER is missing: with cluster_lifecycle transient there is no cluster between "
            "runs; make status lists those that live"
        )
    state = emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"]
    if state not in _TAKES_STEPS:
        raise PrerequisiteError(
            f"cluster {cluster} is {state.lower()} and takes no steps; run make deploy, which "
            "makes a new one, or name another with CLUSTER="
        )
    answer = emr.add_job_flow_steps(
        JobFlowId=cluster,
        Steps=[
            {
                "Name": job,
                # One by hand that fails must not take the cluster with it.
                "ActionOnFailure": "CONTINUE",
                "HadoopJarStep": {
                    "Jar": "command-runner.jar",
                    "Args": [*steps[job], *job_arguments],
                },
            }
        ],
    )
    return Step(cluster, answer["StepIds"][0])


def check_run(run_id: str | None, scale: int | None, ingest_date: str | None) -> None:
    """Raises ``ConfigError`` for a run that no job would take, before AWS is asked."""
    day = None
    if ingest_date is not None:
        # date.fromisoformat takes 20260131 too; folders are named 2026-01-31 only.
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", ingest_date):
            raise ConfigError(f"INGEST_DATE (--ingest-date) {ingest_date!r}: write 2026-01-31")
        try:
            day = date.fromisoformat(ingest_date)
        except ValueError as error:
            raise ConfigError(f"INGEST_DATE (--ingest-date) {ingest_date!r}: {error}") from None
    if run_id is not None:
        try:
            layout_of(dataset_in("."), run_id, scale, day)
        except ConfigError as error:
            raise ConfigError(f"RUN_ID: {error}") from None


def job_arguments(
    run_id: str, scale: int | None, ingest_date: str | None, *, redo: bool
) -> list[str]:
    """What jobs/job.py takes after the configuration."""
    arguments = ["--run-id", run_id]
    if scale is not None:
        arguments += ["--scale", str(scale)]
    if ingest_date is not None:
        arguments += ["--ingest-date", ingest_date]
    return [*arguments, "--redo"] if redo else arguments


def application_of(text: str) -> str | None:
    """The YARN application that a step's standard error names: its containers have logs too."""
    found = re.search(r"application_\d+_\d+", text)
    return found[0] if found else None


def live_clusters(emr: "EMRClient", name: str) -> Iterator[tuple[str, str, str]]:
    """Id, name and state of every cluster of an environment that is not over."""
    for page in emr.get_paginator("list_clusters").paginate(
        ClusterStates=[*_TAKES_STEPS, "TERMINATING"]
    ):
        for cluster in page["Clusters"]:
            # superres-dev must not take superres-dev2's, nor every name with a hyphen.
            if re.fullmatch(rf"{re.escape(name)}(-.*)?", cluster["Name"]):
                yield cluster["Id"], cluster["Name"], cluster["Status"]["State"]


def minutes(seconds: float) -> str:
    """A duration for people."""
    whole = round(seconds)
    return f"{whole} s" if whole < 120 else f"{whole // 60} min {whole % 60:02} s"

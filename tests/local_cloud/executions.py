"""Photographs in the raw bucket, and executions of the state machine that process them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from jobs.import_folder import import_images
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.pipeline.config_file import load_settings
from superres.pipeline.layout import Layout, layout_on
from superres.pipeline.storage.s3 import forget_clients
from tests.local_cloud.stack import Stack
from tests.support.job_images import textured_planes, write_png

SCALE = 2
_RUN_SECONDS = 900.0  # all steps of a run, on a busy machine


def eventually(happened: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Waits until a condition holds, checking twice a second."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.5)


@dataclass(frozen=True)
class Execution:
    """An execution of the deployed state machine."""

    stack: Stack
    arn: str

    @property
    def name(self) -> str:
        """The last part of its ARN."""
        return self.arn.rsplit(":", 1)[1]

    @property
    def status(self) -> str:
        """The status: RUNNING, SUCCEEDED, FAILED or ABORTED."""
        return str(self.described["status"])

    @property
    def described(self) -> dict[str, Any]:
        """Returns the response of DescribeExecution."""
        answer: dict[str, Any] = self.stack.client("stepfunctions").describe_execution(
            executionArn=self.arn
        )
        return answer

    def ended(self, seconds: float = _RUN_SECONDS) -> dict[str, Any]:
        """Waits for its end and returns its description."""
        eventually(lambda: self.status != "RUNNING", "the execution ends", seconds)
        return self.described


@dataclass(frozen=True)
class Day:
    """Photographs of one ingest date in the raw bucket, and the run that they make."""

    stack: Stack
    date: date

    @cached_property
    def settings(self) -> Settings:
        """The configuration of the jobs."""
        return load_settings(self.stack.outputs["config_uri"])

    @cached_property
    def layout(self) -> Layout:
        return layout_on(self.settings.dataset, self.date, SCALE)

    def take_in(self, folder: Path, *names: str) -> list[str]:
        """Stores small photographs, each with an original; gives their image_id."""
        folder.mkdir(exist_ok=True)
        files = [folder / f"{name}.png" for name in names]
        for number, file in enumerate(files):
            write_png(file, textured_planes(64 + number, 80, seed=number))
        taken = list(import_images(files, "evaluate", self.settings.processing, self.layout))
        assert [one.rejected for one in taken] == [None] * len(files)
        return [one.image_id for one in taken]

    def start(self) -> Execution:
        """Starts the state machine for this day."""
        started = self.stack.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.outputs["state_machine_arn"],
            input=json.dumps({"ingest_date": self.date.isoformat(), "scale": SCALE}),
        )
        return Execution(self.stack, started["executionArn"])

    def finished(self) -> set[str]:
        """Returns the images that have an evaluation."""
        return {Path(file.name).stem for file in storage.list_files(self.layout.evaluations)}

    def processes(self) -> list[int]:
        """Returns the processes of the steps of this day's run."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended
            if self.layout.run_id.encode() in words:
                found.append(int(process.name))
        return found


@contextmanager
def clients_on(stack: Stack) -> Iterator[None]:
    """Makes the project's own code in this process use the stack."""
    with pytest.MonkeyPatch.context() as patch:
        stack.cloud.redirect_clients(patch)
        forget_clients()  # it may have been made for another endpoint
        yield
    forget_clients()


def steps_of(stack: Stack, cluster: str, *states: str) -> list[dict[str, Any]]:
    """Returns the steps of a cluster, the latest first, optionally only those in some states."""
    wanted = {"StepStates": list(states)} if states else {}
    steps: list[dict[str, Any]] = stack.client("emr").list_steps(ClusterId=cluster, **wanted)[
        "Steps"
    ]
    return steps


def open_steps(stack: Stack, cluster: str) -> list[dict[str, Any]]:
    """Returns the steps of a cluster that have not ended."""
    return steps_of(stack, cluster, "PENDING", "RUNNING", "CANCEL_PENDING")


def running_step(stack: Stack, cluster: str, job: str, seconds: float = _RUN_SECONDS) -> str:
    """Waits for the step of a job to run and returns its id."""
    found: list[str] = []

    def runs() -> bool:
        found[:] = [
            step["Id"] for step in steps_of(stack, cluster, "RUNNING") if step["Name"] == job
        ]
        return bool(found)

    eventually(runs, f"{job} runs", seconds)
    return found[0]


def state_of(stack: Stack, cluster: str) -> str:
    """Returns the state of a cluster."""
    described = stack.client("emr").describe_cluster(ClusterId=cluster)["Cluster"]
    return str(described["Status"]["State"])


def cluster_of(execution: Execution) -> dict[str, Any]:
    """Returns the description of the cluster that an execution created."""
    (found,) = clusters_of(execution)
    emr = execution.stack.client("emr")
    cluster: dict[str, Any] = emr.describe_cluster(ClusterId=found)["Cluster"]
    return cluster


def wait_for_first_step(execution: Execution) -> None:
    """Waits until the cluster of an execution runs its first step."""
    eventually(lambda: bool(clusters_of(execution)), "a cluster is made")
    running_step(execution.stack, cluster_of(execution)["Id"], "mass_split")


def clusters_of(execution: Execution) -> list[str]:
    name = f"{execution.stack.outputs['name']}-{execution.name}"
    listed = execution.stack.client("emr").list_clusters()["Clusters"]
    return [each["Id"] for each in listed if each["Name"] == name]

"""What a run on AWS proves: one verdict for each thing that only AWS can show.

docs/operations.md lists the same things under "Unproven". Each check looks at what was observed
(``Observed``) and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from superres.service.executions import NEW_IMAGES

State = Literal["proven", "failed", "not in this environment"]
CPU_JOBS = ("mass_split", "mass_reconstruct", "evaluate")


@dataclass(frozen=True)
class Verdict:
    """How a check ended, and the reason where it was not proven."""

    state: State
    reason: str = ""


PROVEN = Verdict("proven")


def failed(reason: str) -> Verdict:
    """A verdict that something did not happen as AWS's documents say."""
    return Verdict("failed", reason)


def elsewhere(reason: str) -> Verdict:
    """A verdict that this environment cannot show it."""
    return Verdict("not in this environment", reason)


@dataclass(frozen=True)
class Observed:
    """What was seen of a run.

    Attributes:
        local: whether this was the local cloud, which has neither instances nor EMR's own software.
        device: what inference runs on.
        persistent: whether there is always a cluster.
        ready: whether the cluster became ready for steps.
        private: whether the cluster is in private subnets.
        task_fleet: whether it has a fleet of task instances.
        rapids: whether its configuration has ``enableSparkRapids``.
        bootstrap_actions: how many it has.
        endpoints: how many endpoints for EMR's own service its network has.
        steps: the state of each job's step.
        logs: the standard error of each job's step; None where it did not come.
        executors_on_task: applications of CPU jobs with a container on a task instance; None where
            no log of a task instance was found.
        task_instances: how many task instances there still are; None where nobody looked.
        encryption: how a table that Spark wrote is encrypted; None where there is none.
        encryption_key: the key that it is encrypted with.
        own_key: the key of this environment.
        log_groups: whether each log group of CloudWatch has received something.
        cluster_metrics: names of the metrics that CloudWatch has of the cluster.
        gpu_measured: whether CloudWatch has the load of a GPU.
        images_on_page: how many of our images the page knows; None where it was not reached.
        run_on_page: what the page says of the execution; None where it was not reached.
        starts_enabled: whether new images start executions here.
        started_by_images: whether our images started an execution by themselves.
        images: how many were sent.
    """

    local: bool = False
    device: str = "cpu"
    persistent: bool = False
    ready: bool = False
    private: bool = True
    task_fleet: bool = False
    rapids: bool = False
    bootstrap_actions: int = 0
    endpoints: int = 0
    steps: Mapping[str, str] = field(default_factory=dict)
    logs: Mapping[str, str | None] = field(default_factory=dict)
    executors_on_task: tuple[str, ...] | None = None
    task_instances: int | None = None
    encryption: str | None = None
    encryption_key: str = ""
    own_key: str = ""
    log_groups: Mapping[str, bool] = field(default_factory=dict)
    cluster_metrics: frozenset[str] = frozenset()
    gpu_measured: bool = False
    images_on_page: int | None = None
    run_on_page: str | None = None
    starts_enabled: bool = False
    started_by_images: bool = False
    images: int = 0

    def completed(self, job: str) -> Verdict:
        """Proven where the step of a job was completed."""
        state = self.steps.get(job)
        if state == "COMPLETED":
            return PROVEN
        return failed(f"{job} is {state.lower()}" if state else f"{job} was never submitted")


_NO_PAGE = elsewhere("the page was not reached")
_NO_GPU = elsewhere("no GPUs")
_LOCAL = elsewhere("the local cloud does not show it")


def _cluster(seen: Observed) -> Verdict:
    return PROVEN if seen.ready else failed("the cluster did not become ready")


def _endpoint(seen: Observed) -> Verdict:
    if not seen.private:
        return elsewhere("the cluster is in public subnets")
    if not seen.ready:
        return failed("the cluster did not become ready")
    if seen.endpoints != 1:
        return failed(f"the network has {seen.endpoints} endpoints for EMR's service, not 1")
    return PROVEN


def _public_subnets(seen: Observed) -> Verdict:
    if seen.private:
        return elsewhere("the cluster is in private subnets")
    return _cluster(seen)


def _bootstrap(seen: Observed) -> Verdict:
    if not seen.bootstrap_actions:
        return failed("the cluster has no bootstrap actions")
    return _cluster(seen)


def _tags(seen: Observed) -> Verdict:
    return elsewhere("the cluster is persistent") if seen.persistent else _cluster(seen)


def _rapids(seen: Observed) -> Verdict:
    if seen.device != "cuda":
        return _NO_GPU
    return seen.completed("batch_inference") if seen.rapids else failed("it is not configured")


def _gpu(seen: Observed) -> Verdict:
    return seen.completed("batch_inference") if seen.device == "cuda" else _NO_GPU


def _node_labels(seen: Observed) -> Verdict:
    if not seen.task_fleet:
        return elsewhere("no task instances")
    if seen.local:
        return _LOCAL
    if seen.executors_on_task is None:
        return failed("no log of a task instance was found")
    if seen.executors_on_task:
        return failed(f"on task instances too: {', '.join(seen.executors_on_task)}")
    return PROVEN


def _scaling(seen: Observed) -> Verdict:
    if not seen.task_fleet:
        return elsewhere("no task instances")
    if seen.local:
        return _LOCAL
    if seen.task_instances is None:
        return elsewhere("the cluster ends with its run")
    return failed(f"{seen.task_instances} are still up") if seen.task_instances else PROVEN


def _missing_keys(seen: Observed) -> Verdict:
    # The first act of its first table is to ask S3 for what is not there yet.
    return seen.completed("mass_split")


def _committer(seen: Observed) -> Verdict:
    if seen.local:
        return _LOCAL
    came = _step_logs(seen)
    if came.state == "failed":
        return came
    naming = [job for job, log in seen.logs.items() if "PathOutputCommitProtocol" in (log or "")]
    if naming:
        return failed(f"the log of {', '.join(naming)} names it")
    return seen.completed("mass_split")


def _step_logs(seen: Observed) -> Verdict:
    missing = [job for job, text in seen.logs.items() if text is None]
    if missing or not seen.logs:
        return failed(f"no log of {', '.join(missing) or 'any step'}")
    return PROVEN


def _encryption(seen: Observed) -> Verdict:
    if seen.encryption is None:
        return failed("the run left no table")
    if not seen.encryption.startswith("aws:kms"):
        return failed(f"it is {seen.encryption}")
    if not seen.own_key or _key_id(seen.encryption_key) != _key_id(seen.own_key):
        return failed(f"the key is {seen.encryption_key or 'not named'}, not {seen.own_key}")
    return PROVEN


def _key_id(key: str) -> str:
    """Returns the id in the ARN of a key; S3 names a key by either."""
    return key.rpartition("/")[2]


def _follows_steps(seen: Observed) -> Verdict:
    return seen.completed("evaluate")


def _log_groups(seen: Observed) -> Verdict:
    if seen.local:
        return _LOCAL
    silent = [name for name, received in seen.log_groups.items() if not received]
    if not seen.log_groups:
        return elsewhere("there are no log groups")
    return failed(f"nothing came to {', '.join(silent)}") if silent else PROVEN


def _cluster_metrics(seen: Observed) -> Verdict:
    if seen.local:
        return _LOCAL
    wanted = {"ContainerPending", *({"TaskUnitsRunning"} if seen.task_fleet else set())}
    missing = sorted(wanted - seen.cluster_metrics)
    return failed(f"CloudWatch has no {', '.join(missing)} of it") if missing else PROVEN


def _gpu_metrics(seen: Observed) -> Verdict:
    if seen.device != "cuda":
        return _NO_GPU
    return PROVEN if seen.gpu_measured else failed("CloudWatch has no nvidia_smi_utilization_gpu")


def _images_on_page(seen: Observed) -> Verdict:
    if seen.images_on_page is None:
        return _NO_PAGE
    if seen.images_on_page < seen.images:
        return failed(f"the page knows {seen.images_on_page} of {seen.images} images")
    return PROVEN


def _run_on_page(seen: Observed) -> Verdict:
    if seen.run_on_page is None:
        return _NO_PAGE
    if seen.run_on_page != "succeeded":
        return failed(f"the page says: {seen.run_on_page or 'nothing'}")
    return PROVEN


def _starts(seen: Observed) -> Verdict:
    if seen.started_by_images:
        return PROVEN
    if seen.local or not seen.starts_enabled:
        return elsewhere("new images start nothing here")
    return failed(f"no execution {NEW_IMAGES}… with the run of ours was started")


CHECKS: Mapping[str, Callable[[Observed], Verdict]] = {
    "Step Functions accepts the state machine, and follows steps without events:PutRule": (
        _follows_steps
    ),
    "EMR counts the tags of a request when it checks permissions": _tags,
    "A cluster in private subnets starts with the endpoint of ours": _endpoint,
    "A cluster in public subnets starts without an endpoint": _public_subnets,
    "Bootstrap actions install on EMR's image": _bootstrap,
    "enableSparkRapids beside core instances without a GPU": _rapids,
    "A GPU instance joins YARN, and inference gets its GPU": _gpu,
    "Executors of CPU jobs keep to core instances": _node_labels,
    "Managed scaling removes idle task instances": _scaling,
    "Spark's S3 connector gets 404 for missing keys": _missing_keys,
    "No step's log names PathOutputCommitProtocol": _committer,
    "Tables that Spark writes are encrypted with our key": _encryption,
    "EMR copies the logs of steps to S3": _step_logs,
    "Logs of services and steps come to CloudWatch": _log_groups,
    "EMR reports what waits for room, and the instances of fleets": _cluster_metrics,
    "The CloudWatch agent measures GPUs, whose driver comes after bootstrap": _gpu_metrics,
    "EMR's image has the agent of Systems Manager": lambda _: elsewhere(
        "aws ssm start-session --target i-… shows it, while a cluster is up"
    ),
    "S3's events reach the page through the encrypted queue": _images_on_page,
    "EventBridge's events reach the page through the encrypted queue": _run_on_page,
    "New images start a run": _starts,
    "EMR refuses to shrink a fleet of an ended cluster": lambda _: elsewhere(
        "make destroy shows it, with a persistent cluster"
    ),
}
"""What is checked, in the order of the report."""


def verdicts(seen: Observed) -> dict[str, Verdict]:
    """Returns the verdict on each check."""
    return {title: check(seen) for title, check in CHECKS.items()}

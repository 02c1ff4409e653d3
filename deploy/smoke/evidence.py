"""Collects what AWS says of a run: ``Observed``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from deploy import executions
from deploy.clients import Clients
from deploy.environments import Deployed
from deploy.preflight.needs import emr_endpoint_service
from deploy.smoke.sending import Sent
from deploy.smoke.services import Reached, Site
from deploy.smoke.verdicts import CPU_JOBS, Observed
from deploy.smoke.waiting import wait_until
from deploy.steps import Step, application_of, step_status, text_of_log
from superres.errors import TransferError
from superres.pipeline import storage
from superres.pipeline.config import Settings
from superres.service.executions import NEW_IMAGES, list_executions

# EMR copies logs every five minutes:
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-manage-view-web-log-files.html
_LOG_SECONDS = 420.0
_PAGE_SECONDS = 360.0  # the notifier looks through storage every five minutes
_SCALING_SECONDS = 900.0
# Images wait for whatever runs; then an execution is started within half a minute.
_STARTS_SECONDS = 180.0


@dataclass(frozen=True)
class Smoke:
    """A run under observation; ``since`` is before its first image was sent."""

    deployed: Deployed
    clients: Clients
    session: Any
    settings: Settings
    execution: executions.Execution
    run_id: str
    sent: Sequence[Sent]
    reached: Reached
    since: datetime

    @property
    def local(self) -> bool:
        """Whether this is the local cloud."""
        return self.deployed.environment.name == "local"


def observe(smoke: Smoke) -> Observed:
    """Looks at everything that the verdicts need, and waits for logs, page and scaling."""
    steps = _steps(smoke)
    cluster = _cluster(smoke, steps)
    attributes = cluster.get("Ec2InstanceAttributes", {})
    task_fleet = _task_fleet(smoke, cluster)
    logs = {job: _log(smoke, step) for job, step in steps.items()}
    encryption, key = _encryption(smoke)
    enabled = _starts_enabled(smoke)
    return Observed(
        local=smoke.local,
        device=smoke.settings.processing.device,
        persistent=smoke.deployed["cluster_lifecycle"] == "persistent",
        ready="ReadyDateTime" in cluster.get("Status", {}).get("Timeline", {}),
        private="ServiceAccessSecurityGroup" in attributes,
        task_fleet=task_fleet is not None,
        rapids=_has_rapids(cluster),
        bootstrap_actions=_bootstrap_actions(smoke, cluster),
        endpoints=_endpoints(smoke, attributes),
        steps={job: step_status(smoke.clients.emr, step).state for job, step in steps.items()},
        logs=logs,
        executors_on_task=_executors_on_task(smoke, cluster, task_fleet, logs),
        task_instances=_task_instances_left(smoke, cluster, task_fleet),
        encryption=encryption,
        encryption_key=key,
        own_key=smoke.deployed["key_arn"],
        log_groups=_log_groups(smoke),
        cluster_metrics=_cluster_metrics(smoke, cluster),
        gpu_measured=_gpu_measured(smoke),
        images_on_page=_images_on_page(smoke),
        run_on_page=_run_on_page(smoke),
        starts_enabled=enabled,
        started_by_images=_started_by_images(smoke, enabled),
        images=len(smoke.sent),
    )


# ---- the cluster and its steps


def _steps(smoke: Smoke) -> dict[str, Step]:
    """Returns the step of each job, by name."""
    found = executions.steps_of(smoke.clients.stepfunctions, smoke.execution.arn)
    return {label.rpartition(" ")[2]: step for label, step in found}


def _cluster(smoke: Smoke, steps: Mapping[str, Step]) -> dict[str, Any]:
    identifiers = [step.cluster for step in steps.values()]
    known = identifiers[0] if identifiers else smoke.deployed.get("cluster_id")
    if not known:
        return {}
    answer: Any = smoke.clients.emr.describe_cluster(ClusterId=known)
    found: dict[str, Any] = answer["Cluster"]
    return found


def _bootstrap_actions(smoke: Smoke, cluster: Mapping[str, Any]) -> int:
    if not cluster:
        return 0
    listed = smoke.clients.emr.list_bootstrap_actions(ClusterId=cluster["Id"])
    return len(listed["BootstrapActions"])


def _task_fleet(smoke: Smoke, cluster: Mapping[str, Any]) -> dict[str, Any] | None:
    if not cluster:
        return None
    fleets: Any = smoke.clients.emr.list_instance_fleets(ClusterId=cluster["Id"])["InstanceFleets"]
    return next((fleet for fleet in fleets if fleet["InstanceFleetType"] == "TASK"), None)


def _has_rapids(cluster: Mapping[str, Any]) -> bool:
    return any(
        "enableSparkRapids" in each.get("Properties", {})
        for each in cluster.get("Configurations", [])
    )


def _endpoints(smoke: Smoke, attributes: Mapping[str, Any]) -> int:
    subnet = attributes.get("Ec2SubnetId")
    if not subnet:
        return 0
    ec2: Any = smoke.clients.ec2
    network = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    service = emr_endpoint_service(smoke.deployed.environment.region)
    found = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [network]}])
    return sum(each["ServiceName"] == service for each in found["VpcEndpoints"])


def _task_instances_left(
    smoke: Smoke, cluster: Mapping[str, Any], task_fleet: Mapping[str, Any] | None
) -> int | None:
    """Returns how many task instances a persistent cluster keeps; waits a while for none."""
    if smoke.local or task_fleet is None or smoke.deployed["cluster_lifecycle"] != "persistent":
        return None

    def capacity() -> int:
        fleet = _task_fleet(smoke, cluster) or {}
        return int(
            fleet.get("ProvisionedSpotCapacity", 0) + fleet.get("ProvisionedOnDemandCapacity", 0)
        )

    wait_until(lambda: capacity() == 0, _SCALING_SECONDS)
    return capacity()


# ---- logs


def _log(smoke: Smoke, step: Step) -> str | None:
    """Returns the standard error of a step, once EMR has copied it to S3."""
    uri = step.log(smoke.deployed["log_uri"])
    if not wait_until(lambda: storage.exists(uri), 30.0 if smoke.local else _LOG_SECONDS):
        return None
    return _text(uri)


def _text(uri: str) -> str:
    return text_of_log(storage.read_bytes(uri))


def _executors_on_task(
    smoke: Smoke,
    cluster: Mapping[str, Any],
    task_fleet: Mapping[str, Any] | None,
    logs: Mapping[str, str | None],
) -> tuple[str, ...] | None:
    """Returns the CPU jobs of which a task instance's NodeManager started a container."""
    if smoke.local or task_fleet is None:
        return None
    listed: Any = smoke.clients.emr.list_instances(
        ClusterId=cluster["Id"], InstanceFleetId=task_fleet["Id"]
    )["Instances"]
    base = f"{smoke.deployed['log_uri'].rstrip('/')}/{cluster['Id']}/node"
    texts = [
        _text(file.uri)
        for instance in listed
        for file in storage.list_files(f"{base}/{instance['Ec2InstanceId']}")
        if "nodemanager" in file.name
    ]
    if not texts:
        return None
    applications = {job: application_of(logs.get(job) or "") for job in CPU_JOBS}
    return tuple(
        job
        for job, application in applications.items()
        if application
        and any(f"container_{application.partition('_')[2]}" in text for text in texts)
    )


def _log_groups(smoke: Smoke) -> dict[str, bool]:
    """Returns whether each log group of services and steps has a stream."""
    groups = dict(smoke.deployed.get("log_groups") or {})
    client = smoke.session.client("logs")

    def received(group: str) -> bool:
        try:
            found = client.describe_log_streams(logGroupName=group, limit=1)["logStreams"]
        except client.exceptions.ResourceNotFoundException:
            return False
        return bool(found)

    return {name: received(group) for name, group in groups.items() if group}


def _cluster_metrics(smoke: Smoke, cluster: Mapping[str, Any]) -> frozenset[str]:
    """Returns the names of the metrics that EMR has given CloudWatch of the cluster."""
    if smoke.local or not cluster:
        return frozenset()
    pages: Any = (
        smoke.session.client("cloudwatch")
        .get_paginator("list_metrics")
        .paginate(
            Namespace="AWS/ElasticMapReduce",
            Dimensions=[{"Name": "JobFlowId", "Value": cluster["Id"]}],
        )
    )
    return frozenset(each["MetricName"] for page in pages for each in page["Metrics"])


def _gpu_measured(smoke: Smoke) -> bool:
    """Returns whether a GPU of this environment was measured in the last three hours."""
    if smoke.local:
        return False
    found = smoke.session.client("cloudwatch").list_metrics(
        Namespace=smoke.deployed["name"],
        MetricName="nvidia_smi_utilization_gpu",
        RecentlyActive="PT3H",
    )
    return bool(found["Metrics"])


# ---- storage


def _encryption(smoke: Smoke) -> tuple[str | None, str]:
    """Returns the encryption of a table of the run, and the key."""
    folder = storage.join(smoke.settings.dataset.patches_dir, f"run_id={smoke.run_id}")
    tables = [file.uri for file in storage.list_files(folder) if file.name.endswith(".parquet")]
    if not tables:
        return None, ""
    bucket, _, key = tables[0].removeprefix(storage.S3).partition("/")
    head = smoke.clients.s3.head_object(Bucket=bucket, Key=key)
    return head.get("ServerSideEncryption", "none"), head.get("SSEKMSKeyId", "")


# ---- the page


def _images_on_page(smoke: Smoke) -> int | None:
    page = smoke.reached.page
    if page is None:
        return None
    left = {each.result_id for each in smoke.sent}

    def all_known() -> bool:
        left.difference_update({result for result in left if _knows(page, result)})
        return not left

    wait_until(all_known, _PAGE_SECONDS)
    return len(smoke.sent) - len(left)


def _knows(page: Site, result_id: str) -> bool:
    try:
        return page.ask("GET", f"/api/v1/images/{result_id}")[0] == 200
    except TransferError:
        return False


def _run_on_page(smoke: Smoke) -> str | None:
    """Returns the state of the execution on the page, once it has ended there."""
    page = smoke.reached.page
    if page is None:
        return None
    state = ""

    def ended() -> bool:
        nonlocal state
        runs = page.get_json("/api/v1/runs?limit=100")["runs"]
        named = {run["name"]: run["state"] for run in runs}
        state = named.get(smoke.execution.name, "")
        return state not in ("", "running")

    wait_until(ended, _PAGE_SECONDS)
    return state


# ---- what new images start


def _starts_enabled(smoke: Smoke) -> bool:
    """Whether the rule lets new images start executions; not asked of the local cloud."""
    if smoke.local:
        return False
    events = smoke.session.client("events")
    found = events.describe_rule(Name=smoke.deployed["new_images_rule"])
    return bool(found["State"] != "DISABLED")


def _started_by_images(smoke: Smoke, enabled: bool) -> bool:
    """Whether our images started an execution; where they should, waits a while for it."""
    return wait_until(lambda: _has_started(smoke), _STARTS_SECONDS if enabled else -1.0)


def _has_started(smoke: Smoke) -> bool:
    runs = {each.layout.run_id for each in smoke.sent}
    stepfunctions = smoke.clients.stepfunctions
    default_scale = int(smoke.deployed["default_scale"])
    listed = list_executions(stepfunctions, smoke.deployed["state_machine_arn"])
    # The latest first.
    ours = takewhile(lambda execution: execution.started_at >= smoke.since, listed)
    return any(
        execution.name.startswith(NEW_IMAGES)
        and runs & executions.named_runs(stepfunctions, execution.arn, default_scale)
        for execution in ours
    )

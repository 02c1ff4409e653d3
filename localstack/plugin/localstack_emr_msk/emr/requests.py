"""What EMR refuses, before anything begins. Messages are EMR's where they are known publicly."""

from collections.abc import Mapping, Sequence
from typing import Any

from localstack_emr_msk.calls import Request
from localstack_emr_msk.emr.releases import check_label
from localstack_emr_msk.errors import validation
from localstack_emr_msk.objects import is_s3

MAX_STEPS = 256  # pending and running at once
_MAX_BOOTSTRAP_ACTIONS = 16
_ACTIONS = ("TERMINATE_JOB_FLOW", "TERMINATE_CLUSTER", "CANCEL_AND_WAIT", "CONTINUE")
_IDLE_SECONDS = (60, 604800)
EXCLUSIVE = "Instance fleets and instance groups are mutually exclusive."


def check_cluster(request: Request) -> None:
    """Refuses a RunJobFlow."""
    if not request.get("Name"):
        raise validation("Name is required for creating cluster.")
    check_label(request.get("ReleaseLabel"))
    if not request.get("ServiceRole"):
        raise validation("ServiceRole is required for creating cluster.")
    if not request.get("JobFlowRole"):
        raise validation("InstanceProfile is required for creating cluster.")
    log_uri = request.get("LogUri")
    if log_uri and not is_s3(log_uri):
        raise validation(f"Log URI {log_uri} is not an address of S3.")
    concurrency = request.get("StepConcurrencyLevel")
    check_concurrency(1 if concurrency is None else concurrency)
    _check_bootstrap(request.get("BootstrapActions") or ())
    _check_instances(request.get("Instances") or {})
    check_idle_timeout(request.get("AutoTerminationPolicy"))
    check_steps(request.get("Steps") or (), 0, request.get("StepConcurrencyLevel") or 1)


def check_concurrency(level: int) -> None:
    """Refuses a number of steps at once."""
    if not 1 <= level <= 256:
        raise validation("StepConcurrencyLevel must be between 1 and 256.")


def check_idle_timeout(policy: Mapping[str, Any] | None) -> None:
    """Refuses an auto-termination policy."""
    least, most = _IDLE_SECONDS
    if policy is not None and not least <= (policy.get("IdleTimeout") or 0) <= most:
        raise validation(f"IdleTimeout must be between {least} and {most} seconds.")


def check_steps(steps: Sequence[Mapping[str, Any]], active: int, concurrency: int) -> None:
    """Refuses steps for a cluster that has ``active`` ones."""
    if len(steps) + active > MAX_STEPS:
        raise validation(
            "Maximum number of active steps(State = 'Running', 'Pending' or 'Cancel_Pending') "
            "for cluster exceeded."
        )
    for step in steps:
        if not step.get("Name"):
            raise validation("Step.Name is required.")
        if not (step.get("HadoopJarStep") or {}).get("Jar"):
            raise validation("Step.HadoopJarStep.Jar is required.")
        action = step.get("ActionOnFailure")
        if action is not None and action not in _ACTIONS:
            raise validation(f"ActionOnFailure {action} is not one of {', '.join(_ACTIONS)}.")
        if concurrency > 1 and action not in (None, "CONTINUE"):
            raise validation(
                f"ActionOnFailure {action} is not valid while StepConcurrencyLevel is greater "
                "than 1; it must be CONTINUE."
            )


def _check_bootstrap(actions: Sequence[Mapping[str, Any]]) -> None:
    if len(actions) > _MAX_BOOTSTRAP_ACTIONS:
        raise validation(
            f"The number of bootstrap actions exceeds the limit of {_MAX_BOOTSTRAP_ACTIONS}."
        )
    for action in actions:
        if not action.get("Name") or not (action.get("ScriptBootstrapAction") or {}).get("Path"):
            raise validation("A bootstrap action needs Name and ScriptBootstrapAction.Path.")


def _check_instances(instances: Mapping[str, Any]) -> None:
    fleets, groups = instances.get("InstanceFleets"), instances.get("InstanceGroups")
    simple = instances.get("MasterInstanceType")
    if fleets and (groups or simple):
        raise validation(EXCLUSIVE)
    if fleets:
        roles = [each.get("InstanceFleetType") for each in fleets]
        for each in fleets:
            check_fleet(each)
    elif groups:
        roles = [each.get("InstanceRole") for each in groups]
    else:
        roles = ["MASTER"] if simple else []
    for role in ("MASTER", "CORE"):
        if roles.count(role) > 1:
            raise validation(f"There can be only one {role} instance group or fleet.")
    if "MASTER" not in roles:
        raise validation("A master instance group or fleet is required.")


def check_fleet(fleet: Mapping[str, Any]) -> None:
    """Refuses an instance fleet."""
    capacities = [fleet.get("TargetOnDemandCapacity") or 0, fleet.get("TargetSpotCapacity") or 0]
    if min(capacities) < 0:
        raise validation("The target capacity of a fleet must not be negative.")
    if fleet.get("InstanceFleetType") == "MASTER" and sum(capacities) != 1:
        raise validation("The master instance fleet must have a target capacity of 1.")
    if fleet.get("InstanceFleetType") != "TASK" and not fleet.get("InstanceTypeConfigs"):
        raise validation("An instance fleet needs instance types.")

"""Validation of requests. Messages are EMR's where they are publicly known."""

from collections.abc import Mapping, Sequence
from typing import Any

from localstack_emr_msk.calls import Request
from localstack_emr_msk.emr.releases import check_label
from localstack_emr_msk.errors import ServiceError, validation
from localstack_emr_msk.objects import is_s3

MAX_STEPS = 256  # pending and running together
_MAX_BOOTSTRAP_ACTIONS = 16
_ACTIONS = ("TERMINATE_JOB_FLOW", "TERMINATE_CLUSTER", "CANCEL_AND_WAIT", "CONTINUE")
_IDLE_SECONDS = (60, 604800)
_ROLES = ("MASTER", "CORE", "TASK")
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-instance-fleet.html
_TYPES, _TYPES_WITH_STRATEGY = 5, 30
# https://docs.aws.amazon.com/emr/latest/APIReference/API_SpotProvisioningSpecification.html
_SPOT_MINUTES = (5, 1440)
_FLEET_UNITS = "InstanceFleetUnits"
_GROUP_UNITS = ("Instances", "VCPU")
EXCLUSIVE = "Instance fleets and instance groups are mutually exclusive."


def check_cluster(request: Request) -> None:
    """Validates a RunJobFlow."""
    if not request.get("Name"):
        raise validation("Name is required for creating cluster.")
    check_label(request.get("ReleaseLabel"))
    if not request.get("ServiceRole"):
        raise validation("ServiceRole is required for creating cluster.")
    if not request.get("JobFlowRole"):
        raise validation("InstanceProfile is required for creating cluster.")
    log_uri = request.get("LogUri")
    if log_uri and not is_s3(log_uri):
        raise validation(f"Log URI {log_uri} is not an S3 URI.")
    concurrency = request.get("StepConcurrencyLevel")
    check_concurrency(1 if concurrency is None else concurrency)
    _check_bootstrap(request.get("BootstrapActions") or ())
    instances = request.get("Instances") or {}
    _check_instances(instances)
    check_scaling(request.get("ManagedScalingPolicy"), fleets=bool(instances.get("InstanceFleets")))
    check_idle_timeout(request.get("AutoTerminationPolicy"))
    check_steps(request.get("Steps") or (), 0, request.get("StepConcurrencyLevel") or 1)


def check_concurrency(level: int) -> None:
    """Validates a step concurrency."""
    if not 1 <= level <= 256:
        raise validation("StepConcurrencyLevel must be between 1 and 256.")


def check_idle_timeout(policy: Mapping[str, Any] | None) -> None:
    """Validates an auto-termination policy."""
    least, most = _IDLE_SECONDS
    if policy is not None and not least <= (policy.get("IdleTimeout") or 0) <= most:
        raise validation(f"IdleTimeout must be between {least} and {most} seconds.")


def check_scaling(policy: Mapping[str, Any] | None, *, fleets: bool) -> None:
    """Validates a managed scaling policy of a cluster with fleets or groups."""
    limits = (policy or {}).get("ComputeLimits")
    if not limits:
        return
    unit = limits.get("UnitType")
    least, most = limits.get("MinimumCapacityUnits"), limits.get("MaximumCapacityUnits")
    if None in (unit, least, most):
        raise _scaling("UnitType, MinimumCapacityUnits and MaximumCapacityUnits are required")
    allowed = (_FLEET_UNITS,) if fleets else _GROUP_UNITS
    if unit not in allowed:
        has = "instance fleets" if fleets else "instance groups"
        raise _scaling(f"The UnitType of a cluster with {has} must be {' or '.join(allowed)}")
    if least > most:
        raise _scaling("The min capacity cannot be higher than max capacity")
    if least < 1:
        raise _scaling("The min capacity cannot be lower than 1")
    if (limits.get("MaximumCoreCapacityUnits") or 0) > most:
        raise _scaling("The max Core capacity cannot be higher than max capacity")
    if (limits.get("MaximumOnDemandCapacityUnits") or 0) > most:
        raise _scaling("The max On-Demand capacity cannot be higher than max capacity")


def _scaling(why: str) -> ServiceError:
    return validation(f"Invalid configuration for managed scaling. {why}")


def check_steps(steps: Sequence[Mapping[str, Any]], active: int, concurrency: int) -> None:
    """Validates steps for a cluster that has ``active`` ones."""
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
        for each in groups:
            check_group(each)
    else:
        roles = ["MASTER"] if simple else []
    check_roles(roles, fleets=bool(fleets))
    if "MASTER" not in roles:
        raise validation("A master instance group or fleet is required.")


def check_roles(roles: Sequence[str | None], *, fleets: bool) -> None:
    """Validates that only task groups exist more than once."""
    for role in _ROLES if fleets else ("MASTER", "CORE"):
        if roles.count(role) > 1:
            raise validation(f"There can be only one {role} instance group or fleet.")


def check_fleet(fleet: Mapping[str, Any]) -> None:
    """Validates an instance fleet."""
    _check_role("InstanceFleetType", fleet.get("InstanceFleetType"))
    capacities = [fleet.get("TargetOnDemandCapacity") or 0, fleet.get("TargetSpotCapacity") or 0]
    if min(capacities) < 0:
        raise validation("The target capacity of a fleet must not be negative.")
    if fleet.get("InstanceFleetType") == "MASTER" and sum(capacities) != 1:
        raise validation("The master instance fleet must have a target capacity of 1.")
    if fleet.get("InstanceFleetType") != "TASK" and not fleet.get("InstanceTypeConfigs"):
        raise validation("An instance fleet needs instance types.")
    _check_types(fleet)
    _check_spot(fleet)


def _check_types(fleet: Mapping[str, Any]) -> None:
    specifications = (fleet.get("LaunchSpecifications") or {}).values()
    has_strategy = any(each.get("AllocationStrategy") for each in specifications)
    most = _TYPES_WITH_STRATEGY if has_strategy else _TYPES
    types = [each.get("InstanceType") for each in fleet.get("InstanceTypeConfigs") or []]
    if len(types) > most:
        raise validation(f"An instance fleet can have at most {most} instance types.")
    if len(types) > len(set(types)):
        raise validation("The instance types of a fleet must differ.")
    for each in fleet.get("InstanceTypeConfigs") or []:
        if each.get("BidPrice") and each.get("BidPriceAsPercentageOfOnDemandPrice"):
            raise validation("BidPrice and BidPriceAsPercentageOfOnDemandPrice exclude each other.")


def _check_spot(fleet: Mapping[str, Any]) -> None:
    spot = (fleet.get("LaunchSpecifications") or {}).get("SpotSpecification")
    least, most = _SPOT_MINUTES
    if spot and not least <= (spot.get("TimeoutDurationMinutes") or 0) <= most:
        raise validation(f"TimeoutDurationMinutes must be between {least} and {most}.")


def check_group(group: Mapping[str, Any]) -> None:
    """Validates an instance group."""
    _check_role("InstanceRole", group.get("InstanceRole"))
    count = group.get("InstanceCount") or 0
    if count < 0:
        raise validation("The instance count of a group must not be negative.")
    if group.get("InstanceRole") == "MASTER" and count not in (1, 3):
        raise validation("The master instance group must have 1 or 3 instances.")


def _check_role(name: str, role: str | None) -> None:
    if role not in _ROLES:
        raise validation(f"{name} {role} is not one of {', '.join(_ROLES)}.")

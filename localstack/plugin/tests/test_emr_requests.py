"""Requests that EMR rejects, and how it returns those that it accepts."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from localstack_emr_msk.calls import Caller
from localstack_emr_msk.emr.fleets import fleets_of
from localstack_emr_msk.emr.provider import EmrProvider
from localstack_emr_msk.emr.requests import check_cluster
from localstack_emr_msk.emr.spark import defaults
from localstack_emr_msk.errors import ServiceError, SettingsError
from localstack_emr_msk.settings import Settings, settings_from

CALLER = Caller("000000000000", "eu-central-1")
FLEET = {
    "Name": "primary",
    "InstanceFleetType": "MASTER",
    "TargetOnDemandCapacity": 1,
    "InstanceTypeConfigs": [
        {"InstanceType": "m6i.xlarge", "BidPriceAsPercentageOfOnDemandPrice": 100.0}
    ],
}
TASK = FLEET | {"Name": "task", "InstanceFleetType": "TASK", "TargetOnDemandCapacity": 0}
GOOD: dict[str, Any] = {
    "Name": "test",
    "ReleaseLabel": "emr-spark-8.1.0",
    "ServiceRole": "service",
    "JobFlowRole": "nodes",
    "Instances": {"KeepJobFlowAliveWhenNoSteps": True, "InstanceFleets": [FLEET]},
}
GROUP = {"InstanceRole": "MASTER", "InstanceType": "m6i.xlarge", "InstanceCount": 1}
GROUPS = [GROUP]
LIMITS = {"UnitType": "InstanceFleetUnits", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 4}


def groups(*others: dict[str, Any], **master: Any) -> dict[str, Any]:
    """Returns a RunJobFlow with instance groups."""
    asked = [GROUP | master, *(GROUP | each for each in others)]
    return GOOD | {"Instances": {"KeepJobFlowAliveWhenNoSteps": True, "InstanceGroups": asked}}


@pytest.fixture
def emr(tmp_path: Path) -> Iterator[EmrProvider]:
    # S3 is not used: there are no logs, scripts or steps.
    provider = EmrProvider(Settings("http://127.0.0.1:1", tmp_path, tmp_path / "mnt"))
    yield provider
    provider.stop()


@pytest.mark.parametrize("label", ["emr-spark-8.1.0", "emr-7.14.0", "emr-5.36.2", "emr-6.15.0"])
def test_releases_of_both_forms_are_known(label: str) -> None:
    check_cluster(GOOD | {"ReleaseLabel": label})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Name": ""}, "Name is required"),
        ({"ReleaseLabel": "emr-8.1.0"}, "release label is invalid: emr-8.1.0"),
        ({"ReleaseLabel": "emr-7.99.0"}, "release label is invalid"),
        ({"ReleaseLabel": None}, "release label is invalid"),
        ({"ServiceRole": None}, "ServiceRole is required"),
        ({"JobFlowRole": None}, "InstanceProfile is required"),
        ({"LogUri": "/logs"}, "not an S3 URI"),
        ({"StepConcurrencyLevel": 257}, "between 1 and 256"),
        ({"AutoTerminationPolicy": {"IdleTimeout": 5}}, "IdleTimeout"),
        ({"BootstrapActions": [{"Name": "x"}] * 17}, "limit of 16"),
        ({"BootstrapActions": [{"Name": "x"}]}, "ScriptBootstrapAction.Path"),
        ({"Steps": [{"Name": "x"}]}, "HadoopJarStep.Jar is required"),
        (
            {"Steps": [{"Name": "x", "HadoopJarStep": {"Jar": "j"}}] * 257},
            "Maximum number of active steps",
        ),
        (
            {"Steps": [{"Name": "x", "HadoopJarStep": {"Jar": "j"}, "ActionOnFailure": "STOP"}]},
            "ActionOnFailure STOP",
        ),
        ({"Instances": {}}, "master instance group or fleet"),
        ({"Instances": {"InstanceFleets": [TASK]}}, "master instance group or fleet"),
        ({"Instances": {"InstanceFleets": [FLEET, FLEET]}}, "only one MASTER"),
        (
            {"Instances": {"InstanceFleets": [FLEET], "InstanceGroups": GROUPS}},
            "mutually exclusive",
        ),
        (
            {"Instances": {"InstanceFleets": [FLEET | {"TargetSpotCapacity": 1}]}},
            "target capacity of 1",
        ),
        ({"Instances": {"InstanceFleets": [FLEET, TASK, TASK]}}, "only one TASK"),
        (
            {"Instances": {"InstanceFleets": [FLEET, FLEET | {"InstanceFleetType": "GPU"}]}},
            "InstanceFleetType GPU is not one of",
        ),
        (groups({"InstanceRole": "GPU"}), "InstanceRole GPU is not one of"),
        (groups({"InstanceRole": "TASK", "InstanceCount": -1}), "must not be negative"),
        (groups(InstanceCount=0), "master instance group must have 1 or 3"),
    ],
)
def test_an_invalid_cluster_is_rejected(change: dict[str, Any], message: str) -> None:
    check_cluster(GOOD)
    with pytest.raises(ServiceError, match=message) as refused:
        check_cluster(GOOD | change)
    assert refused.value.code == "ValidationException"


def fleet_of(count: int, **more: Any) -> dict[str, Any]:
    """Returns a RunJobFlow whose fleet has so many instance types."""
    types = [{"InstanceType": f"m{number}.xlarge"} for number in range(count)]
    fleet = FLEET | {"InstanceTypeConfigs": types} | more
    return GOOD | {"Instances": {"InstanceFleets": [fleet]}}


def spot(minutes: int) -> dict[str, Any]:
    """Returns launch specifications with an allocation strategy."""
    strategy = {"AllocationStrategy": "price-capacity-optimized", "TimeoutDurationMinutes": minutes}
    return {"LaunchSpecifications": {"SpotSpecification": strategy}}


def test_a_fleet_has_more_instance_types_with_an_allocation_strategy() -> None:
    check_cluster(fleet_of(5))
    check_cluster(fleet_of(30, **spot(5)))
    with pytest.raises(ServiceError, match="at most 5 instance types"):
        check_cluster(fleet_of(6))
    with pytest.raises(ServiceError, match="at most 30 instance types"):
        check_cluster(fleet_of(31, **spot(5)))


@pytest.mark.parametrize("minutes", [4, 1441])
def test_waiting_for_spot_capacity_has_limits(minutes: int) -> None:
    with pytest.raises(ServiceError, match="TimeoutDurationMinutes must be between 5 and 1440"):
        check_cluster(fleet_of(1, **spot(minutes)))


def test_a_fleet_has_each_type_once_and_one_bid_price() -> None:
    twice = FLEET["InstanceTypeConfigs"] * 2
    with pytest.raises(ServiceError, match="must differ"):
        check_cluster(fleet_of(0, InstanceTypeConfigs=twice))
    both = {"InstanceType": "m6i.xlarge", "BidPrice": "1", "BidPriceAsPercentageOfOnDemandPrice": 9}
    with pytest.raises(ServiceError, match="exclude each other"):
        check_cluster(fleet_of(0, InstanceTypeConfigs=[both]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"MinimumCapacityUnits": 7}, "The min capacity cannot be higher than max capacity"),
        (
            {"MaximumCoreCapacityUnits": 7},
            "The max Core capacity cannot be higher than max capacity",
        ),
        ({"MinimumCapacityUnits": 0}, "The min capacity cannot be lower than 1"),
        (
            {"MaximumOnDemandCapacityUnits": 7},
            "The max On-Demand capacity cannot be higher than max capacity",
        ),
        ({"UnitType": "VCPU"}, "instance fleets must be InstanceFleetUnits"),
        ({"UnitType": None}, "UnitType, MinimumCapacityUnits and MaximumCapacityUnits"),
    ],
)
def test_an_invalid_scaling_policy_is_rejected(
    emr: EmrProvider, change: dict[str, Any], message: str
) -> None:
    # As in the Terraform of the project around this plugin.
    ours = LIMITS | {
        "MinimumCapacityUnits": 2,
        "MaximumCapacityUnits": 6,
        "MaximumCoreCapacityUnits": 2,
        "MaximumOnDemandCapacityUnits": 2,
    }
    good, bad = ({"ManagedScalingPolicy": {"ComputeLimits": ours | each}} for each in ({}, change))
    identifier = emr.run_job_flow(CALLER, GOOD | good)["JobFlowId"]
    asked = {"ClusterId": identifier}
    emr.put_managed_scaling_policy(CALLER, asked | good)
    for call, request in (
        (emr.put_managed_scaling_policy, asked | bad),
        (emr.run_job_flow, GOOD | bad),
    ):
        with pytest.raises(ServiceError, match=message) as refused:
            call(CALLER, request)
        assert refused.value.code == "ValidationException"
    assert emr.get_managed_scaling_policy(CALLER, asked) == good


@pytest.mark.parametrize("unit", ["Instances", "VCPU"])
def test_groups_scale_in_their_own_units(unit: str) -> None:
    check_cluster(
        groups() | {"ManagedScalingPolicy": {"ComputeLimits": LIMITS | {"UnitType": unit}}}
    )
    with pytest.raises(ServiceError, match="instance groups must be Instances or VCPU"):
        check_cluster(groups() | {"ManagedScalingPolicy": {"ComputeLimits": LIMITS}})


def test_either_all_groups_change_or_none(emr: EmrProvider) -> None:
    task = {"InstanceRole": "TASK", "InstanceCount": 1}
    asked = {"ClusterId": emr.run_job_flow(CALLER, groups(task, task))["JobFlowId"]}

    def counts() -> list[int]:
        found = emr.list_instance_groups(CALLER, asked)["InstanceGroups"]
        return [each["RequestedInstanceCount"] for each in found]

    ids = [each["Id"] for each in emr.list_instance_groups(CALLER, asked)["InstanceGroups"]]
    more = {"InstanceGroupId": ids[1], "InstanceCount": 2}
    unknown = {"InstanceGroupId": "ig-NOSUCH", "InstanceCount": 1}
    for named in ({}, asked):
        with pytest.raises(ServiceError, match="Instance group id 'ig-NOSUCH' is not") as refused:
            emr.modify_instance_groups(CALLER, named | {"InstanceGroups": [more, unknown]})
        assert refused.value.code == "InvalidRequestException"
    none = {"InstanceGroupId": ids[0], "InstanceCount": 0}
    with pytest.raises(ServiceError, match="must have 1 or 3"):
        emr.modify_instance_groups(CALLER, {"InstanceGroups": [more, none]})
    assert counts() == [1, 1, 1]
    emr.modify_instance_groups(CALLER, asked | {"InstanceGroups": [more]})
    assert counts() == [1, 2, 1]


def test_invalid_groups_are_not_added(emr: EmrProvider) -> None:
    asked = {"JobFlowId": emr.run_job_flow(CALLER, groups())["JobFlowId"]}
    for group, message in ((GROUP, "only one MASTER"), (GROUP | {"InstanceRole": "GPU"}, "GPU")):
        with pytest.raises(ServiceError, match=message):
            emr.add_instance_groups(CALLER, asked | {"InstanceGroups": [group]})
    several = [GROUP | {"InstanceRole": "TASK"}] * 2
    added = emr.add_instance_groups(CALLER, asked | {"InstanceGroups": several})
    assert len(added["InstanceGroupIds"]) == 2


def test_missing_resources_give_the_error_of_each_operation(emr: EmrProvider) -> None:
    for call in (emr.describe_cluster, emr.list_steps, emr.list_instances):
        with pytest.raises(ServiceError, match="InvalidRequestException: Cluster id 'j-0'"):
            call(CALLER, {"ClusterId": "j-0"})
    with pytest.raises(ServiceError, match="ValidationException: Specified job flow ID"):
        emr.add_job_flow_steps(CALLER, {"JobFlowId": "j-0", "Steps": []})
    with pytest.raises(ServiceError, match="ValidationException: Specified job flow ID"):
        emr.terminate_job_flows(CALLER, {"JobFlowIds": ["j-0"]})
    with pytest.raises(ServiceError, match="Security configuration with name 'x' does not exist"):
        emr.run_job_flow(CALLER, GOOD | {"SecurityConfiguration": "x"})


def test_accounts_and_regions_see_only_their_own(emr: EmrProvider) -> None:
    identifier = emr.run_job_flow(CALLER, GOOD)["JobFlowId"]
    assert len(emr.list_clusters(CALLER, {})["Clusters"]) == 1
    for other in (Caller("111111111111", CALLER.region), Caller(CALLER.account, "us-east-1")):
        assert emr.list_clusters(other, {})["Clusters"] == []
        with pytest.raises(ServiceError, match="not valid"):
            emr.describe_cluster(other, {"ClusterId": identifier})


def test_a_protected_cluster_is_not_terminated(emr: EmrProvider) -> None:
    identifier = emr.run_job_flow(CALLER, GOOD)["JobFlowId"]
    emr.set_termination_protection(
        CALLER, {"JobFlowIds": [identifier], "TerminationProtected": True}
    )
    with pytest.raises(ServiceError, match="termination protected"):
        emr.terminate_job_flows(CALLER, {"JobFlowIds": [identifier]})
    emr.set_termination_protection(
        CALLER, {"JobFlowIds": [identifier], "TerminationProtected": False}
    )
    emr.terminate_job_flows(CALLER, {"JobFlowIds": [identifier]})


def test_fleets_are_returned_as_requested(emr: EmrProvider) -> None:
    identifier = emr.run_job_flow(CALLER, GOOD)["JobFlowId"]
    asked = {"ClusterId": identifier}
    emr.add_instance_fleet(CALLER, asked | {"InstanceFleet": TASK})
    with pytest.raises(ServiceError, match="type TASK already"):
        emr.add_instance_fleet(CALLER, asked | {"InstanceFleet": TASK})
    primary, task = emr.list_instance_fleets(CALLER, asked)["InstanceFleets"]
    kind = task["InstanceTypeSpecifications"][0]
    assert (kind["InstanceType"], kind["BidPriceAsPercentageOfOnDemandPrice"]) == (
        "m6i.xlarge",
        100,
    )
    change = {"InstanceFleetId": task["Id"], "TargetSpotCapacity": 3}
    emr.modify_instance_fleet(CALLER, asked | {"InstanceFleet": change})
    of_task = asked | {"InstanceFleetId": task["Id"]}
    assert [each["Market"] for each in emr.list_instances(CALLER, of_task)["Instances"]] == [
        "SPOT"
    ] * 3
    assert len(emr.list_instances(CALLER, asked)["Instances"]) == 4
    assert primary["ProvisionedOnDemandCapacity"] == 1
    none = {"InstanceFleetId": primary["Id"], "TargetOnDemandCapacity": 0}
    with pytest.raises(ServiceError, match="target capacity of 1"):
        emr.modify_instance_fleet(CALLER, asked | {"InstanceFleet": none})
    with pytest.raises(ServiceError, match="uses instance fleets"):
        emr.list_instance_groups(CALLER, asked)


def test_the_fleet_of_a_terminated_cluster_gives_the_error_terraform_expects(
    emr: EmrProvider,
) -> None:
    identifier = emr.run_job_flow(CALLER, GOOD)["JobFlowId"]
    asked = {"ClusterId": identifier}
    task = emr.add_instance_fleet(CALLER, asked | {"InstanceFleet": TASK})["InstanceFleetId"]
    emr.terminate_job_flows(CALLER, {"JobFlowIds": [identifier]})
    change = {"InstanceFleetId": task, "TargetOnDemandCapacity": 0, "TargetSpotCapacity": 0}
    with pytest.raises(ServiceError, match="when the cluster is running or waiting") as refused:
        emr.modify_instance_fleet(CALLER, asked | {"InstanceFleet": change})
    assert refused.value.code == "InvalidRequestException"


def test_an_instance_count_gives_groups_too() -> None:
    found = fleets_of({"MasterInstanceType": "a", "SlaveInstanceType": "b", "InstanceCount": 3})
    assert [(each.role, len(each.instances)) for each in found] == [("MASTER", 1), ("CORE", 2)]


def test_policies_tags_and_security_configurations_are_stored(emr: EmrProvider) -> None:
    name = {"Name": "safe"}
    with pytest.raises(ServiceError, match="not a JSON object"):
        emr.create_security_configuration(CALLER, name | {"SecurityConfiguration": "{"})
    emr.create_security_configuration(CALLER, name | {"SecurityConfiguration": json.dumps({})})
    with pytest.raises(ServiceError, match="already exists"):
        emr.create_security_configuration(CALLER, name | {"SecurityConfiguration": "{}"})
    identifier = emr.run_job_flow(
        CALLER, GOOD | {"SecurityConfiguration": "safe", "Tags": [{"Key": "a", "Value": "1"}]}
    )["JobFlowId"]
    with pytest.raises(ServiceError, match="a cluster uses it"):
        emr.delete_security_configuration(CALLER, name)
    asked = {"ClusterId": identifier}
    for policy in ({"ComputeLimits": LIMITS}, None):
        if policy:
            emr.put_managed_scaling_policy(CALLER, asked | {"ManagedScalingPolicy": policy})
        else:
            emr.remove_managed_scaling_policy(CALLER, asked)
        assert emr.get_managed_scaling_policy(CALLER, asked).get("ManagedScalingPolicy") == policy
    idle = {"IdleTimeout": 3600}
    emr.put_auto_termination_policy(CALLER, asked | {"AutoTerminationPolicy": idle})
    assert emr.get_auto_termination_policy(CALLER, asked)["AutoTerminationPolicy"] == idle
    tagged = {"ResourceId": identifier}
    emr.add_tags(CALLER, tagged | {"Tags": [{"Key": "b", "Value": "2"}]})
    emr.remove_tags(CALLER, tagged | {"TagKeys": ["a"]})
    described = emr.describe_cluster(CALLER, asked)["Cluster"]
    assert described["Tags"] == [{"Key": "b", "Value": "2"}]
    assert described["SecurityConfiguration"] == "safe"


def test_lists_are_paginated(emr: EmrProvider) -> None:
    first = emr.list_supported_instance_types(CALLER, {"ReleaseLabel": "emr-7.14.0"})
    assert len(first["SupportedInstanceTypes"]) == 50
    found, marker = list(first["SupportedInstanceTypes"]), first.get("Marker")
    while marker:
        asked = {"ReleaseLabel": "emr-7.14.0", "Marker": marker}
        answer = emr.list_supported_instance_types(CALLER, asked)
        found += answer["SupportedInstanceTypes"]
        marker = answer.get("Marker")
    types = [each["Type"] for each in found]
    assert len(set(types)) == len(types)
    assert {"m6i.xlarge", "g6.2xlarge", "g5.2xlarge", "g4dn.2xlarge"} <= set(types)


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    found = settings_from(
        "http://127.0.0.1:1",
        {
            "LOCAL_EMR_FOLDER": str(tmp_path),
            "LOCAL_EMR_WORKER_MEMORY": "1024",
            "LOCAL_EMR_NODE_ENV_TOOL_HOME": "/x",
            "OTHER": "y",
        },
    )
    assert (found.folder, found.mount, found.worker_memory) == (tmp_path, tmp_path / "mnt", 1024)
    assert found.node_environment == {"TOOL_HOME": "/x"}
    with pytest.raises(SettingsError, match="LOCAL_EMR_WORKER_CORES is 'two'"):
        settings_from("http://127.0.0.1:1", {"LOCAL_EMR_WORKER_CORES": "two"})


def test_spark_defaults_are_those_of_this_machine_then_of_the_cluster(tmp_path: Path) -> None:
    settings = Settings("http://127.0.0.1:4566", tmp_path, tmp_path, spark_classpath="/jars/*")
    cluster = [
        {"Classification": "yarn-site", "Properties": {"yarn.x": "1"}},
        {
            "Classification": "spark-defaults",
            "Properties": {"spark.ui.enabled": "true", "spark.yarn.x": "1"},
        },
    ]
    conf = defaults(settings, "eu-central-1", Path("/my clusters/j-1/tmp"), cluster)
    assert conf["spark.hadoop.fs.s3.impl"].endswith("S3AFileSystem")
    assert conf["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:4566"
    assert conf["spark.executor.extraClassPath"] == "/jars/*"
    for of in ("driver", "executor"):
        java = shlex.split(conf[f"spark.{of}.extraJavaOptions"])
        assert java[-1] == "-Djava.io.tmpdir=/my clusters/j-1/tmp"
    assert conf["spark.ui.enabled"] == "true"
    assert not any(key.startswith(("yarn", "spark.yarn")) for key in conf)

"""Checks before a deployment: each finding is one line with its remedy."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from deploy.environments import read_environment
from deploy.permissions import Scope, read_statements
from deploy.preflight import (
    Finding,
    Group,
    Kafka,
    Needs,
    check_credentials,
    check_endpoint,
    check_region,
    findings,
    local_findings,
)
from deploy.preflight.brokers import broker_findings
from deploy.preflight.endpoints import endpoint_findings
from deploy.preflight.permissions import permission_findings
from deploy.preflight.quotas import quota_findings
from deploy.preflight.release import release_findings
from deploy.preflight.zones import zone_findings
from superres.errors import PrerequisiteError
from tests.support.fake_aws import REGION, stubbed

# Repeated here: a wrong code in quotas.py would read another quota than the one it names.
ON_DEMAND, SPOT = "L-1216C47A", "L-34B43A08"
GPU_ON_DEMAND, GPU_SPOT = "L-DB2E81BA", "L-3819A6DF"
VCPUS = {
    "m7i.xlarge": 4,
    "m7i.2xlarge": 8,
    "m6i.4xlarge": 16,
    "g6.2xlarge": 8,
    "g5.2xlarge": 8,
    "t3.medium": 2,
    "t3.small": 2,
}
ZONES = [f"{REGION}{letter}" for letter in "abc"]
EMR_SERVICE, SQS = f"aws.api.{REGION}.emr-service-cell01", f"com.amazonaws.{REGION}.sqs"
NEEDS = Needs(
    release_label="emr-spark-8.1.0",
    persistent=False,
    primary=Group("primary", ("m7i.xlarge",), 1),
    core=Group("core", ("m7i.2xlarge", "m6i.4xlarge", "x2idn.16xlarge"), 2),
    task=Group("task", ("g6.2xlarge", "g5.2xlarge"), 4),
    gpu=True,
    services=(Group("ingestion", ("t3.medium",), 1), Group("notifier", ("t3.small",), 3)),
    zone_count=2,
    endpoint_services=(EMR_SERVICE, SQS),
    kafka=Kafka("3.9.x.kraft", "kafka.m7g.large"),
    alarms_email="desk@example.org",
)
SERVICES = 2 + 3 * 2
STANDARD = 4 + 2 * 16 + SERVICES
SCOPE = Scope("aws", "123456789012", REGION, "superres")


# ---- this shell


def test_local_needs_a_local_endpoint_and_other_environments_need_aws():
    local, dev = read_environment("local"), read_environment("dev")
    with pytest.raises(PrerequisiteError, match="AWS_ENDPOINT_URL"):
        check_endpoint(local, "https://sts.us-east-1.amazonaws.com")
    check_endpoint(local, "http://127.0.0.1:4566")
    check_endpoint(dev, "https://sts.us-east-1.amazonaws.com")
    check_endpoint(dev, "https://vpce-1.sts.us-east-1.vpce.amazonaws.com")
    with pytest.raises(PrerequisiteError, match=r"ENV=dev is for AWS, but .*//127\.0\.0\.1:4566"):
        check_endpoint(dev, "http://127.0.0.1:4566")
    with pytest.raises(PrerequisiteError, match="ENV=dev is for AWS"):
        check_endpoint(dev, "http://localhost.localstack.cloud:4566")


def test_another_region_in_the_shell_is_an_error():
    dev = read_environment("dev")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        with pytest.raises(PrerequisiteError, match=rf"{name} is us-west-2, but dev.tfvars has eu"):
            check_region(dev, {name: "us-west-2"})
    check_region(dev, {"AWS_REGION": "eu-central-1"})
    check_region(dev, {})


def failing(error: Exception) -> Any:
    """An STS client that raises."""

    def raise_it() -> None:
        raise error

    return SimpleNamespace(get_caller_identity=raise_it)


def test_missing_wrong_and_unreachable_credentials_have_their_own_messages():
    dev = read_environment("dev")
    sts, stub = stubbed("sts")
    stub.add_response("get_caller_identity", {"Account": "123456789012"})
    assert check_credentials(sts, dev) == "123456789012"
    stub.add_client_error("get_caller_identity", "ExpiredToken", "expired")
    with pytest.raises(PrerequisiteError, match=r"refuses .* in eu-central-1 \(ExpiredToken\)"):
        check_credentials(sts, dev)
    with pytest.raises(PrerequisiteError, match="no AWS credentials; run aws configure"):
        check_credentials(failing(NoCredentialsError()), dev)
    with pytest.raises(PrerequisiteError, match="cannot be reached in eu-central-1"):
        check_credentials(failing(EndpointConnectionError(endpoint_url="https://sts")), dev)


# ---- release label


def release(supported=(*VCPUS, "x2idn.16xlarge"), needs=NEEDS) -> list[Finding]:
    emr, stub = stubbed("emr")
    half = len(supported) // 2
    for part, marker in ((supported[:half], "next"), (supported[half:], None)):
        kinds = [{"Type": kind} for kind in part]
        answer = {"SupportedInstanceTypes": kinds} | ({"Marker": marker} if marker else {})
        stub.add_response("list_supported_instance_types", answer)
    return list(release_findings(needs, emr))


def test_a_release_with_all_instance_types_gives_no_finding():
    assert release() == []


def test_an_instance_type_that_the_release_lacks_is_named():
    (missing,) = release(supported=("m7i.xlarge", "m7i.2xlarge", "m6i.4xlarge", "g5.2xlarge"))
    assert missing.stops
    assert "emr-spark-8.1.0 does not have x2idn.16xlarge, g6.2xlarge in this region" in missing.line


@pytest.mark.parametrize("code", ["InvalidRequestException", "ValidationException"])
def test_an_unknown_release_label_stops(code):
    emr, stub = stubbed("emr")
    stub.add_client_error("list_supported_instance_types", code, "invalid")
    clients: Any = SimpleNamespace(emr=emr)
    (unknown,) = local_findings(NEEDS, clients)
    assert unknown.stops
    assert "EMR does not have emr-spark-8.1.0 in eu-central-1" in unknown.line
    assert "choose another release_label" in unknown.line


# ---- quotas


def quotas(needs=NEEDS, **values: float) -> list[Finding]:
    """Returns the findings with these quotas; others are large."""
    ec2, ec2_stub = stubbed("ec2")
    groups = [group for group in (*needs.cluster, *needs.services) if group.instances]
    kinds = [kind for group in groups for kind in group.instance_types if kind in VCPUS]
    types = [{"InstanceType": kind, "VCpuInfo": {"DefaultVCpus": VCPUS[kind]}} for kind in kinds]
    # Each type once, but not x2idn, which another quota counts.
    ec2_stub.add_response(
        "describe_instance_types",
        {"InstanceTypes": types},
        {"InstanceTypes": list(dict.fromkeys(kinds))},
    )
    client, stub = stubbed("service-quotas")
    asked = (ON_DEMAND, GPU_ON_DEMAND, GPU_SPOT) if needs.gpu else (ON_DEMAND, SPOT)
    for code in asked:
        stub.add_response(
            "get_service_quota",
            {"Quota": {"QuotaCode": code, "Value": values.get(code.replace("-", "_"), 1000.0)}},
            {"ServiceCode": "ec2", "QuotaCode": code},
        )
    found = list(quota_findings(needs, ec2, client))
    stub.assert_no_pending_responses()
    return found


def test_sufficient_quotas_give_no_finding():
    room = {"L_1216C47A": STANDARD + SERVICES, "L_DB2E81BA": 8, "L_3819A6DF": 32}
    assert quotas(**room) == []


def test_a_missing_gpu_quota_stops_and_names_the_number_to_request():
    # Managed scaling adds the first GPU instance on demand.
    on_demand, spot = quotas(L_DB2E81BA=0, L_3819A6DF=0)
    assert on_demand.stops
    for part in ("Running On-Demand G and VT", "0 vCPUs", "request 8", GPU_ON_DEMAND):
        assert part in on_demand.line
    assert spot.stops
    for part in ("All G and VT Spot Instance Requests", "0 vCPUs", "request 32", GPU_SPOT):
        assert part in spot.line


def test_a_small_gpu_quota_suggests_fewer_instances():
    (spot,) = quotas(L_3819A6DF=17)
    assert spot.stops
    assert "4 task instances need 32" in spot.line
    assert "set gpu.max_instances to 2" in spot.line


def test_a_small_standard_quota_stops_and_names_the_number_to_request():
    (standard,) = quotas(L_1216C47A=STANDARD - 1)
    assert standard.stops
    for part in ("Running On-Demand Standard", "is 43 vCPUs", "need 44", ON_DEMAND):
        assert part in standard.line


def test_replacing_a_persistent_cluster_needs_room_for_two():
    persistent = replace(NEEDS, persistent=True)
    both = 2 * STANDARD
    room = {"L_1216C47A": both, "L_DB2E81BA": 16, "L_3819A6DF": 40}
    assert quotas(persistent, **room) == []
    for code, enough in room.items():
        (short,) = quotas(persistent, **(room | {code: enough - 1}))
        # The first deployment succeeds, so it is not stopped.
        assert not short.stops
        assert f"request {enough} in the console" in short.line
        assert "new instances start before old ones stop" in short.line


def test_without_gpus_task_instances_count_towards_the_standard_quotas():
    cpu = replace(NEEDS, gpu=False, task=Group("task", ("m7i.2xlarge",), 3))
    assert quotas(cpu, L_1216C47A=STANDARD + 8 + SERVICES, L_34B43A08=24) == []
    (on_demand,) = quotas(cpu, L_1216C47A=STANDARD + 7)
    assert f"need {STANDARD + 8}" in on_demand.line
    (spot,) = quotas(cpu, L_34B43A08=23)
    assert "3 task instances need 24" in spot.line


def test_without_task_instances_only_the_on_demand_quota_counts():
    fixed = replace(NEEDS, task=Group("task", ("g6.2xlarge",), 0))
    ec2, ec2_stub = stubbed("ec2")
    kinds = ["m7i.xlarge", "m7i.2xlarge", "m6i.4xlarge", "t3.medium", "t3.small"]
    types = [{"InstanceType": kind, "VCpuInfo": {"DefaultVCpus": VCPUS[kind]}} for kind in kinds]
    ec2_stub.add_response("describe_instance_types", {"InstanceTypes": types})
    client, stub = stubbed("service-quotas")
    stub.add_response("get_service_quota", {"Quota": {"Value": 1000.0}})
    # A client without a further answer would raise.
    assert list(quota_findings(fixed, ec2, client)) == []


def test_a_quota_without_a_value_of_its_own_has_the_default():
    cpu = replace(NEEDS, gpu=False, task=Group("task", (), 0))
    ec2, ec2_stub = stubbed("ec2")
    types = [{"InstanceType": kind, "VCpuInfo": {"DefaultVCpus": n}} for kind, n in VCPUS.items()]
    ec2_stub.add_response("describe_instance_types", {"InstanceTypes": types})
    client, stub = stubbed("service-quotas")
    stub.add_client_error("get_service_quota", "NoSuchResourceException", "none")
    stub.add_response(
        "get_aws_default_service_quota",
        {"Quota": {"Value": 5.0}},
        {"ServiceCode": "ec2", "QuotaCode": ON_DEMAND},
    )
    (small,) = quota_findings(cpu, ec2, client)
    assert "is 5 vCPUs, cluster and services need 44" in small.line


# ---- zones and endpoint services


def add_zones(stub: Any, zones: list[str]) -> None:
    answer = {"AvailabilityZones": [{"ZoneName": zone} for zone in reversed(zones)]}
    stub.add_response("describe_availability_zones", answer)


def in_zones(missing: dict[str, list[str]] | None = None, needs=NEEDS, zones=ZONES):
    ec2, stub = stubbed("ec2")
    add_zones(stub, zones)
    kinds = list(dict.fromkeys([*VCPUS, "x2idn.16xlarge"]))
    offerings = [
        {"InstanceType": kind, "Location": zone}
        for kind in kinds
        for zone in zones[: needs.zone_count]
        if zone not in (missing or {}).get(kind, [])
    ]
    stub.add_response(
        "describe_instance_type_offerings",
        {"InstanceTypeOfferings": offerings[:5], "NextToken": "more"},
    )
    stub.add_response("describe_instance_type_offerings", {"InstanceTypeOfferings": offerings[5:]})
    return list(zone_findings(needs, ec2))


def test_zones_with_all_instance_types_give_no_finding():
    assert in_zones() == []
    # One type of a fleet suffices.
    assert in_zones({"g6.2xlarge": ZONES[:2], "g5.2xlarge": []}) == []


def test_a_zone_without_any_type_of_a_fleet_is_named():
    (one,) = in_zones({"g6.2xlarge": [ZONES[0]], "g5.2xlarge": [ZONES[0]]})
    assert not one.stops
    assert f"no cluster can start in {ZONES[0]}" in one.line
    assert "task: g6.2xlarge, g5.2xlarge" in one.line
    nowhere = in_zones({"m7i.xlarge": [ZONES[0]], "g6.2xlarge": [ZONES[1]], "g5.2xlarge": ZONES})
    assert [finding.stops for finding in nowhere] == [True, True]


def test_a_service_whose_type_is_not_offered_is_named():
    (some,) = in_zones({"t3.small": [ZONES[1]]})
    assert not some.stops
    assert f"t3.small, the instance type of notifier, is not offered in {ZONES[1]}" in some.line
    (nowhere,) = in_zones({"t3.small": ZONES})
    assert nowhere.stops


def test_a_region_with_too_few_zones_is_named():
    found = in_zones(needs=replace(NEEDS, zone_count=3), zones=ZONES[:2])
    assert found[0].stops
    assert "has 2 zones for the account, zone_count asks for 3" in found[0].line


def endpoints(offered: dict[str, list[str]]) -> list[Finding]:
    ec2, stub = stubbed("ec2")
    details = [{"ServiceName": name, "AvailabilityZones": at} for name, at in offered.items()]
    stub.add_response(
        "describe_vpc_endpoint_services",
        {"ServiceDetails": details},
        {"Filters": [{"Name": "service-name", "Values": [EMR_SERVICE, SQS]}]},
    )
    add_zones(stub, ZONES)
    return list(endpoint_findings(NEEDS, ec2))


def test_endpoint_services_in_all_zones_give_no_finding():
    assert endpoints({EMR_SERVICE: ZONES, SQS: ZONES[:2]}) == []


def test_a_region_without_an_endpoint_service_stops():
    emr, sqs = endpoints({})
    assert emr.stops
    assert f"{REGION} has no endpoint service {EMR_SERVICE}" in emr.line
    assert "choose another region" in emr.line
    assert "take sqs out of interface_endpoints" in sqs.line


def test_a_zone_without_the_endpoint_service_stops():
    (zone,) = endpoints({EMR_SERVICE: [ZONES[0], ZONES[2]], SQS: ZONES})
    assert zone.stops
    assert f"{EMR_SERVICE} is not offered in {ZONES[1]}, where" in zone.line


def test_without_endpoints_none_are_looked_for():
    assert list(endpoint_findings(replace(NEEDS, endpoint_services=()), stubbed("ec2")[0])) == []


# ---- Kafka


def brokers(version="3.9.x.kraft", kind="kafka.m7g.large") -> list[Finding]:
    kafka, stub = stubbed("kafka")
    versions = [
        {"Version": "3.10.x.kraft", "Status": "ACTIVE"},
        {"Version": "3.9.x.kraft", "Status": "ACTIVE"},
        {"Version": "3.9.x", "Status": "ACTIVE"},
        {"Version": "3.6.0.kraft", "Status": "DEPRECATED"},
    ]
    stub.add_response("list_kafka_versions", {"KafkaVersions": versions[:2], "NextToken": "more"})
    stub.add_response("list_kafka_versions", {"KafkaVersions": versions[2:]})
    return list(broker_findings(Kafka(version, kind), kafka))


def test_brokers_that_msk_offers_give_no_finding():
    for kind in ("kafka.m7g.large", "kafka.m5.xlarge", "kafka.m7g.16xlarge", "express.m7g.large"):
        assert brokers(kind=kind) == []
    assert brokers("3.9.x", "kafka.t3.small") == []


def test_a_version_that_msk_lacks_stops_and_the_newest_are_named():
    (missing,) = brokers("4.9.x.kraft")
    assert missing.stops
    assert "MSK does not have Kafka 4.9.x.kraft in eu-central-1" in missing.line
    assert missing.line.endswith("such as 3.9.x.kraft, 3.10.x.kraft")


def test_a_version_that_msk_retires_is_a_warning():
    (old,) = brokers("3.6.0.kraft")
    assert not old.stops
    assert "MSK retires Kafka 3.6.0.kraft" in old.line


def test_a_type_that_msk_refuses_stops():
    (small,) = brokers(kind="kafka.t3.small")
    assert small.stops
    assert "MSK does not run 3.9.x.kraft on kafka.t3.small" in small.line
    (unknown,) = brokers(kind="m7g.large")
    assert "MSK has no brokers of type m7g.large" in unknown.line


# ---- permissions

USER = "arn:aws:iam::123456789012:user/ci/ann"


class Simulation:
    """IAM, for a caller whose policies allow all but some actions."""

    def __init__(self, denied=(), unsettled=(), only=None):
        self.denied, self.unsettled, self.only = denied, unsettled, only or {}
        self.sources: set[str] = set()
        self.resources: set[str] = set()

    def get_role(self, **request):
        arn = f"arn:aws:iam::123456789012:role/path/{request['RoleName']}"
        return {"Role": {"Arn": arn}}

    def get_paginator(self, name):
        assert name == "simulate_principal_policy"
        return self

    def paginate(self, **request):
        self.sources.add(request["PolicySourceArn"])
        (resource,) = request["ResourceArns"]
        self.resources.add(resource)
        for action in request["ActionNames"]:
            refused = action in self.denied or (
                action in self.only and self.only[action] not in resource
            )
            missing = ["aws:ResourceTag/x"] if action in self.unsettled else []
            yield {
                "EvaluationResults": [
                    {
                        "EvalActionName": action,
                        "EvalDecision": "implicitDeny" if refused or missing else "allowed",
                        "MissingContextValues": missing,
                    }
                ]
            }


def permissions(caller: str, iam: Any) -> list[Finding]:
    return list(permission_findings(SCOPE, "superres-dev", caller, iam))


def test_a_caller_who_may_deploy_gives_no_finding():
    iam = Simulation()
    assert permissions(USER, iam) == []
    assert iam.sources == {USER}
    # What the caller may do in this environment alone suffices.
    assert "arn:aws:iam::123456789012:role/superres-dev-x" in iam.resources
    assert not any("*" in resource for resource in iam.resources - {"*"})


def test_missing_permissions_stop_and_some_are_named():
    (one,) = permissions(USER, Simulation(denied={"iam:CreateRole"}))
    assert one.stops
    assert f"{USER} may not iam:CreateRole: deploy with a role that may" in one.line
    everything = {action for each in read_statements(SCOPE) for action in each.actions}
    named, unnamed = permissions(USER, Simulation(denied=everything))
    for finding, on_all in ((named, False), (unnamed, True)):
        statements = [each for each in read_statements(SCOPE) if ("*" in each.resources) == on_all]
        assert f"and {sum(len(each.actions) for each in statements) - 8} more" in finding.line
    assert (named.stops, unnamed.stops) == (True, False)


def test_what_is_refused_on_all_resources_may_be_allowed_on_those_of_the_environment():
    (finding,) = permissions(USER, Simulation(denied={"ec2:CreateVpc"}))
    assert not finding.stops
    assert f"{USER} may not ec2:CreateVpc on every resource; unless its policies" in finding.line


def test_an_action_may_be_refused_on_resources_that_it_does_not_know():
    assert permissions(USER, Simulation(only={"iam:CreateRole": ":role/"})) == []


def test_what_depends_on_unknown_conditions_is_not_a_finding():
    assert permissions(USER, Simulation(unsettled={"ec2:CreateVpc"})) == []


def test_an_assumed_role_is_simulated_with_its_path():
    iam = Simulation()
    session = "arn:aws:sts::123456789012:assumed-role/deployer/ann@example.org"
    assert permissions(session, iam) == []
    assert iam.sources == {"arn:aws:iam::123456789012:role/path/deployer"}


def test_root_may_do_everything_and_a_federated_user_is_a_warning():
    nothing: Any = SimpleNamespace()
    assert permissions("arn:aws:iam::123456789012:root", nothing) == []
    (federated,) = permissions("arn:aws:sts::123456789012:federated-user/ann", nothing)
    assert not federated.stops
    assert "could not be checked" in federated.line


# ---- all of them


def test_a_check_without_permission_becomes_a_warning():
    emr, ec2, quotas_client, kafka, iam, sts = (
        stubbed(name) for name in ("emr", "ec2", "service-quotas", "kafka", "iam", "sts")
    )
    sts[1].add_response("get_caller_identity", {"Arn": USER})
    emr[1].add_client_error("list_supported_instance_types", "AccessDeniedException", "no")
    for call in ("availability_zones", "vpc_endpoint_services", "instance_types"):
        ec2[1].add_client_error(f"describe_{call}", "UnauthorizedOperation", "no")
    kafka[1].add_client_error("list_kafka_versions", "ForbiddenException", "no")
    iam[1].add_client_error("simulate_principal_policy", "AccessDenied", "no")
    clients: Any = SimpleNamespace(
        emr=emr[0], ec2=ec2[0], quotas=quotas_client[0], kafka=kafka[0], iam=iam[0], sts=sts[0]
    )
    found = list(findings(NEEDS, SCOPE, "superres-dev", clients))
    assert [finding.stops for finding in found] == [False] * 6
    subjects = [finding.line.partition(" could not be checked (")[0] for finding in found]
    assert subjects == [
        "the release label",
        "instance types by zone",
        "endpoint services",
        "quotas",
        "versions of Kafka",
        f"the permissions of {USER}",
    ]

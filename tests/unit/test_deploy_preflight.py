"""Checks before a deployment: each finding is one line with its remedy."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from deploy.environments import read_environment
from deploy.preflight import (
    Fleets,
    Group,
    check_credentials,
    check_endpoint,
    check_region,
    findings,
)
from superres.errors import PrerequisiteError
from tests.support.fake_aws import stubbed

# Repeated here: a wrong code in preflight.py would read another quota than the one it names.
SPOT_QUOTA, ON_DEMAND_QUOTA, STANDARD_QUOTA = "L-3819A6DF", "L-DB2E81BA", "L-1216C47A"
VCPUS = {"m7i.xlarge": 4, "m7i.2xlarge": 8, "m6i.4xlarge": 16, "t3.small": 2, "t3.medium": 2}
FLEETS = Fleets(
    "emr-spark-8.1.0",
    ("m7i.xlarge", "g6.2xlarge", "g5.2xlarge"),
    ("g6.2xlarge", "g5.2xlarge"),
    4,
    (
        Group(("m7i.xlarge",), 1),
        Group(("m7i.2xlarge", "m6i.4xlarge", "x2idn.16xlarge"), 2),
        Group(("t3.medium",), 1),
        Group(("t3.small",), 3),
    ),
)
STANDARD_VCPUS = 4 + 2 * 16 + 2 + 3 * 2


def answer_for_standard(ec2_stub, quota_stub, value: float) -> None:
    """Expects each type once, but not x2idn, which another quota counts."""
    kinds = ["m7i.xlarge", "m7i.2xlarge", "m6i.4xlarge", "t3.medium", "t3.small"]
    types = [{"InstanceType": kind, "VCpuInfo": {"DefaultVCpus": VCPUS[kind]}} for kind in kinds]
    ec2_stub.add_response(
        "describe_instance_types", {"InstanceTypes": types}, {"InstanceTypes": kinds}
    )
    answer_quota(quota_stub, STANDARD_QUOTA, value)


def answer_quota(stub, code: str, value: float) -> None:
    stub.add_response(
        "get_service_quota",
        {"Quota": {"QuotaCode": code, "Value": value}},
        {"ServiceCode": "ec2", "QuotaCode": code},
    )


def findings_with(
    spot: float,
    on_demand: float,
    supported=FLEETS.instance_types,
    fleets=FLEETS,
    standard: float = STANDARD_VCPUS,
):
    emr, emr_stub = stubbed("emr")
    half = len(supported) // 2
    for part, marker in ((supported[:half], "next"), (supported[half:], None)):
        kinds = [{"Type": kind} for kind in part]
        answer = {"SupportedInstanceTypes": kinds} | ({"Marker": marker} if marker else {})
        emr_stub.add_response("list_supported_instance_types", answer)
    ec2, ec2_stub = stubbed("ec2")
    quotas, quota_stub = stubbed("service-quotas")
    answer_for_standard(ec2_stub, quota_stub, standard)
    types = [{"InstanceType": kind, "VCpuInfo": {"DefaultVCpus": 8}} for kind in fleets.gpu_types]
    ec2_stub.add_response("describe_instance_types", {"InstanceTypes": types})
    for code, value in ((SPOT_QUOTA, spot), (ON_DEMAND_QUOTA, on_demand)):
        answer_quota(quota_stub, code, value)
    return list(findings(fleets, emr, ec2, quotas))


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


def test_sufficient_quotas_give_no_finding():
    assert findings_with(spot=32, on_demand=8) == []


def test_a_missing_gpu_quota_stops_and_names_the_number_to_request():
    spot, on_demand = findings_with(spot=0, on_demand=0)
    assert spot.stops
    for part in ("All G and VT Spot Instance Requests", "0 vCPUs", "request 32", SPOT_QUOTA):
        assert part in spot.line
    # Managed scaling adds the first GPU instance on demand.
    assert on_demand.stops
    for part in ("Running On-Demand G and VT", "0 vCPUs", "request 8", ON_DEMAND_QUOTA):
        assert part in on_demand.line


def test_a_small_gpu_quota_suggests_fewer_instances():
    (spot,) = findings_with(spot=17, on_demand=8)
    assert spot.stops
    assert "4 GPU instances need 32" in spot.line
    assert "lower their number to 2" in spot.line


def test_a_small_standard_quota_stops_and_names_the_number_to_request():
    (standard,) = findings_with(spot=32, on_demand=8, standard=STANDARD_VCPUS - 1)
    assert standard.stops
    for part in ("Running On-Demand Standard", "is 43 vCPUs", "need 44", STANDARD_QUOTA):
        assert part in standard.line


def test_an_instance_type_that_the_release_lacks_is_named():
    (missing,) = findings_with(32, 8, supported=("m7i.xlarge", "g5.2xlarge"))
    assert missing.stops
    assert "emr-spark-8.1.0 does not have g6.2xlarge in this region" in missing.line


def test_without_gpus_their_quota_is_not_checked():
    emr, stub = stubbed("emr")
    stub.add_response(
        "list_supported_instance_types", {"SupportedInstanceTypes": [{"Type": "m7i.xlarge"}]}
    )
    fleets = Fleets("emr-spark-8.1.0", ("m7i.xlarge",), (), 4, FLEETS.on_demand)
    ec2, ec2_stub = stubbed("ec2")
    quotas, quota_stub = stubbed("service-quotas")
    answer_for_standard(ec2_stub, quota_stub, STANDARD_VCPUS)
    # Clients without a further answer would raise.
    assert list(findings(fleets, emr, ec2, quotas)) == []


def test_a_check_without_permission_becomes_a_warning():
    emr, emr_stub = stubbed("emr")
    emr_stub.add_client_error("list_supported_instance_types", "AccessDeniedException", "no")
    ec2, ec2_stub = stubbed("ec2")
    for _ in range(2):
        ec2_stub.add_client_error("describe_instance_types", "UnauthorizedOperation", "no")
    found = list(findings(FLEETS, emr, ec2, stubbed("service-quotas")[0]))
    assert [finding.stops for finding in found] == [False, False, False]
    assert "the release label could not be checked" in found[0].line
    assert "the on-demand quota could not be checked" in found[1].line
    assert "the GPU quotas could not be checked" in found[2].line


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

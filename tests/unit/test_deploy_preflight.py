"""What is looked at before anything is made: each fault one line with its remedy."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from deploy.environments import read_environment
from deploy.preflight import (
    Fleets,
    Group,
    check_credentials,
    check_place,
    check_region,
    findings,
)
from superres.errors import PrerequisiteError
from tests.support.fake_aws import stubbed

# Written out: a wrong code in preflight.py would ask for another quota than the one it names.
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
ORDINARY = 4 + 2 * 16 + 2 + 3 * 2


def answer_for_ordinary(ec2_stub, quota_stub, value: float) -> None:
    """What is asked for them: each type once, x2idn not, which another quota counts."""
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


def found(
    spot: float,
    on_demand: float,
    supported=FLEETS.instance_types,
    fleets=FLEETS,
    standard: float = ORDINARY,
):
    emr, emr_stub = stubbed("emr")
    half = len(supported) // 2
    for part, marker in ((supported[:half], "next"), (supported[half:], None)):
        kinds = [{"Type": kind} for kind in part]
        answer = {"SupportedInstanceTypes": kinds} | ({"Marker": marker} if marker else {})
        emr_stub.add_response("list_supported_instance_types", answer)
    ec2, ec2_stub = stubbed("ec2")
    quotas, quota_stub = stubbed("service-quotas")
    answer_for_ordinary(ec2_stub, quota_stub, standard)
    types = [{"InstanceType": kind, "VCpuInfo": {"DefaultVCpus": 8}} for kind in fleets.gpu_types]
    ec2_stub.add_response("describe_instance_types", {"InstanceTypes": types})
    for code, value in ((SPOT_QUOTA, spot), (ON_DEMAND_QUOTA, on_demand)):
        answer_quota(quota_stub, code, value)
    return list(findings(fleets, emr, ec2, quotas))


def test_what_is_for_the_local_cloud_does_not_go_to_aws_nor_the_other_way_round():
    local, dev = read_environment("local"), read_environment("dev")
    with pytest.raises(PrerequisiteError, match="AWS_ENDPOINT_URL"):
        check_place(local, "https://sts.us-east-1.amazonaws.com")
    check_place(local, "http://127.0.0.1:4566")
    check_place(dev, "https://sts.us-east-1.amazonaws.com")
    check_place(dev, "https://vpce-1.sts.us-east-1.vpce.amazonaws.com")
    with pytest.raises(PrerequisiteError, match=r"ENV=dev is for AWS and .*//127\.0\.0\.1:4566"):
        check_place(dev, "http://127.0.0.1:4566")
    with pytest.raises(PrerequisiteError, match="ENV=dev is for AWS"):
        check_place(dev, "http://localhost.localstack.cloud:4566")


def test_what_suffices_is_not_mentioned():
    assert found(spot=32, on_demand=8) == []


def test_no_quota_for_gpus_stops_with_the_number_to_ask_for():
    spot, on_demand = found(spot=0, on_demand=0)
    assert spot.stops
    for part in ("All G and VT Spot Instance Requests", "0 vCPUs", "ask for 32", SPOT_QUOTA):
        assert part in spot.line
    # Only what spot capacity lacks switches over to on-demand.
    assert not on_demand.stops
    assert ON_DEMAND_QUOTA in on_demand.line


def test_a_quota_for_fewer_gpus_offers_fewer():
    (spot,) = found(spot=17, on_demand=8)
    assert spot.stops
    assert "4 GPU instances have 32" in spot.line
    assert "lower their number to 2" in spot.line


def test_a_quota_for_fewer_ordinary_instances_stops_with_the_number_to_ask_for():
    (standard,) = found(spot=32, on_demand=8, standard=ORDINARY - 1)
    assert standard.stops
    for part in ("Running On-Demand Standard", "is 43 vCPUs", "have 44", STANDARD_QUOTA):
        assert part in standard.line


def test_a_release_without_a_type_is_named():
    (missing,) = found(32, 8, supported=("m7i.xlarge", "g5.2xlarge"))
    assert missing.stops
    assert "emr-spark-8.1.0 does not have g6.2xlarge in this region" in missing.line


def test_without_gpus_no_quota_for_them_is_asked():
    emr, stub = stubbed("emr")
    stub.add_response(
        "list_supported_instance_types", {"SupportedInstanceTypes": [{"Type": "m7i.xlarge"}]}
    )
    fleets = Fleets("emr-spark-8.1.0", ("m7i.xlarge",), (), 4, FLEETS.on_demand)
    ec2, ec2_stub = stubbed("ec2")
    quotas, quota_stub = stubbed("service-quotas")
    answer_for_ordinary(ec2_stub, quota_stub, ORDINARY)
    # Clients without a further answer would raise.
    assert list(findings(fleets, emr, ec2, quotas)) == []


def test_what_may_not_be_asked_is_a_warning():
    emr, emr_stub = stubbed("emr")
    emr_stub.add_client_error("list_supported_instance_types", "AccessDeniedException", "no")
    ec2, ec2_stub = stubbed("ec2")
    for _ in range(2):
        ec2_stub.add_client_error("describe_instance_types", "UnauthorizedOperation", "no")
    told = list(findings(FLEETS, emr, ec2, stubbed("service-quotas")[0]))
    assert [finding.stops for finding in told] == [False, False, False]
    assert "the release label could not be checked" in told[0].line
    assert "the on-demand quota could not be checked" in told[1].line
    assert "the GPU quotas could not be checked" in told[2].line


def test_another_region_in_the_shell_is_refused():
    dev = read_environment("dev")
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        with pytest.raises(
            PrerequisiteError, match=rf"{name} is us-west-2, but dev.tfvars says eu"
        ):
            check_region(dev, {name: "us-west-2"})
    check_region(dev, {"AWS_REGION": "eu-central-1"})
    check_region(dev, {})


def failing(error: Exception) -> Any:
    """An STS client that raises."""

    def raise_it() -> None:
        raise error

    return SimpleNamespace(get_caller_identity=raise_it)


def test_credentials_that_are_missing_wrong_or_unreachable_are_told_apart():
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

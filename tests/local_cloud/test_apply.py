"""The production root in the local cloud is complete, and a plan shows no change."""

import json
import re
from dataclasses import dataclass

import pytest

from deploy.environments import read_environment
from deploy.terraform import SAMPLE_PACKAGE
from tests.local_cloud.stack import ENVIRONMENT, Stack


@dataclass(frozen=True)
class Switch:
    """A value of infra/environments/local.tfvars that leaves resources of the root out."""

    value: str
    resources: str
    reason: str


# Five at most.
SWITCHES = [
    Switch(
        'notifier.database = "sqlite"',
        r"module\.notifier\.aws_(db_|security_group\.|vpc_security_group_).*",
        "the free LocalStack has no RDS; the notifier's own tests run on a PostgreSQL",
    ),
    Switch(
        "alarms.budget_dollars = null",
        r".*\.aws_budgets_budget\..*",
        "the free LocalStack has no AWS Budgets",
    ),
]


def test_a_plan_shows_no_change(stack: Stack) -> None:
    terraform = stack.terraform()
    values = read_environment(ENVIRONMENT).values
    with stack.timed("plan"):
        code = terraform.call(
            "plan", "-detailed-exitcode", "-lock=false", f"-var-file={values}", allowed=(0, 1, 2)
        )
    assert code == 0, (stack.folder / "terraform.log").read_text()[-6000:]


def test_the_package_is_encrypted_with_our_key_and_has_versions(stack: Stack) -> None:
    # Whatever is stored before the bucket's settings are stays without them.
    s3, bucket = stack.client("s3"), stack.outputs["buckets"]["artifacts"]
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    found = [s3.head_object(Bucket=bucket, Key=key) for key in keys if key.endswith(".sh")]
    assert {each["ServerSideEncryption"] for each in found} == {"aws:kms"}
    assert all(each.get("VersionId") for each in found)


@pytest.fixture(scope="module")
def of_prod(stack: Stack) -> set[str]:
    """Returns the resources in a plan of prod with an empty state."""
    terraform = stack.terraform(stack.folder / "terraform" / "prod")
    plan = stack.folder / "prod.tfplan"
    local, prod = read_environment(ENVIRONMENT), read_environment("prod")
    account = stack.client("sts").get_caller_identity()["Account"]
    terraform.call(
        "init",
        f"-backend-config=bucket={local.state_bucket(account)}",
        f"-backend-config=key={prod.state_key}",
        f"-backend-config=region={local.region}",
    )
    terraform.call(
        "plan",
        "-lock=false",
        f"-var-file={prod.values}",
        f"-var=package_dir={SAMPLE_PACKAGE}",
        f"-out={plan}",
    )
    planned = json.loads(terraform.read("show", "-json", str(plan)))["resource_changes"]
    return {without_keys(each["address"]) for each in planned if each["mode"] == "managed"}


def without_keys(address: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", address)


def test_local_has_all_resources_of_prod_but_for_a_few_switches(
    stack: Stack, of_prod: set[str]
) -> None:
    listed = stack.terraform().read("state", "list").splitlines()
    there = {without_keys(address) for address in listed if ".data." not in f".{address}"}
    assert len(of_prod) > 100
    missing = of_prod - there
    left_out = {
        switch.value: {address for address in missing if re.fullmatch(switch.resources, address)}
        for switch in SWITCHES
    }
    assert missing == set().union(*left_out.values())
    assert all(left_out.values()), left_out  # no switch that leaves out nothing
    assert len(SWITCHES) <= 5

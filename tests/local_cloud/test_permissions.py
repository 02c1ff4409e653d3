"""Each call of the tests before this one was evaluated against its policies, and allowed.

What roles may do and no call did is listed in docs/aws-permissions.md, with the reason.
"""

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.local_cloud.executions import Execution, eventually
from tests.local_cloud.stack import NAME, REGION, Stack
from tests.support.paths import ROOT

DOCUMENT = ROOT / "docs" / "aws-permissions.md"
# Who must have called: roles without the environment's name, and services of AWS.
ROLES = {"emr-nodes", "ingestion", "notifier", "pipeline", "schedule"}
SERVICES = {"cloudwatch", "ec2", "events", "s3", "scheduler", "states"}
# What the document says of permissions that one run uses and the next does not.
AFTER_A_FAILURE = "only after a failure"
# The role with which EMR calls EC2; here those calls exist only in name.
NOT_CALLED = "emr"


@dataclass(frozen=True, order=True)
class Permission:
    """An action that a statement of a role's policy allows."""

    role: str
    statement: str
    action: str


@dataclass(frozen=True)
class Report:
    """The decisions that LocalStack reported."""

    lines: list[dict[str, Any]]

    @property
    def principals(self) -> set[str]:
        """The roles without the environment's name, and services of AWS."""
        return {short(line["role"]) for line in self.lines}

    @property
    def denials(self) -> set[str]:
        """Each denied permission, in a line that says who lacked what."""
        return {
            f"{short(line['role'])}: {line['call']} needs {line['action']} on {line['resource']}: "
            f"{line['reason']}"
            for line in self.lines
            if not line["allowed"]
        }

    def of(self, principal: str) -> set[str]:
        """Returns the actions that a principal was allowed."""
        return {
            line["action"]
            for line in self.lines
            if line["allowed"] and short(line["role"]) == principal
        }

    def used(self, permission: Permission) -> bool:
        """Returns whether a call used a permission."""
        name = f"/{permission.statement}"
        return any(
            short(line["role"]) == permission.role
            and fnmatchcase(line["action"], permission.action)
            and any(each.endswith(name) for each in line["statements"])
            for line in self.lines
            if line["allowed"]
        )


def short(principal: str) -> str:
    """Returns a role's name without the environment's, or a service's without AWS's."""
    name = principal.rpartition("/")[2]
    return name.removeprefix(f"{NAME}-").removesuffix(".amazonaws.com")


@pytest.fixture(scope="module")
def started(transient: Stack) -> Execution:
    """An execution that the schedule started, for days without images."""
    (listed,) = transient.client("scheduler").list_schedules(NamePrefix=NAME)["Schedules"]
    target = transient.client("scheduler").get_schedule(Name=listed["Name"])["Target"]
    account = target["RoleArn"].split(":")[4]
    states = transient.client_of(
        "stepfunctions",
        "scheduler",
        target["RoleArn"].rpartition("/")[2],
        f"arn:aws:scheduler:{REGION}:{account}:schedule-group/default",
    )
    given = target["Input"].replace("<aws.scheduler.scheduled-time>", "2025-01-02T02:00:00Z")
    answer = states.start_execution(stateMachineArn=target["Arn"], input=given)
    return Execution(transient, answer["executionArn"])


@pytest.fixture(scope="module")
def alarmed(transient: Stack) -> str:
    """The name of an alarm that was raised, and that publishes to the encrypted topic."""
    cloudwatch, name = transient.client("cloudwatch"), f"{NAME}-run-failed"
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=name, StateValue=state, StateReason="a test")
    return name


@pytest.fixture(scope="module")
def report(transient: Stack, started: Execution, alarmed: str) -> Report:
    started.ended()

    def read() -> Report:
        return Report([json.loads(line) for line in transient.permissions.read_text().splitlines()])

    eventually(
        lambda: any(
            (line["context"].get("aws:sourcearn") or [""])[0].endswith(f":{alarmed}")
            for line in read().lines
        ),
        "the alarm is published",
    )
    return read()


def test_the_schedule_starts_an_execution_with_its_own_role(started: Execution) -> None:
    assert started.ended()["status"] == "SUCCEEDED"


def test_the_calls_of_all_principals_were_evaluated(report: Report) -> None:
    assert report.principals >= ROLES | SERVICES
    assert NOT_CALLED not in report.principals


def test_an_alarm_reaches_a_topic_that_is_encrypted(report: Report) -> None:
    assert report.of("cloudwatch") == {"sns:Publish", "kms:GenerateDataKey", "kms:Decrypt"}


def test_events_reach_queues_that_are_encrypted(report: Report) -> None:
    for service in ("s3", "events"):
        assert report.of(service) == {"sqs:SendMessage", "kms:GenerateDataKey", "kms:Decrypt"}


def test_nodes_read_what_is_encrypted(report: Report) -> None:
    assert {"kms:Decrypt", "kms:GenerateDataKey"} <= report.of("emr-nodes")


def test_no_call_lacked_a_permission(report: Report) -> None:
    assert sorted(report.denials) == []


def test_permissions_that_no_call_used_are_documented(transient: Stack, report: Report) -> None:
    given = permissions(transient)
    unused = {each for each in given if not report.used(each)}
    listed = documented()
    assert sorted(unused - listed.keys()) == [], f"no call used them; {DOCUMENT} must say why"
    assert sorted(listed.keys() - given) == [], f"{DOCUMENT} lists them, and no policy has them"
    sometimes = {each for each, why in listed.items() if AFTER_A_FAILURE in why.lower()}
    assert sorted(listed.keys() - unused - sometimes) == [], f"calls use them: {DOCUMENT}"


def permissions(stack: Stack) -> set[Permission]:
    """Returns what the inline policies of the environment's roles allow."""
    iam, found = stack.client("iam"), set()
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        if not name.startswith(f"{NAME}-") or short(name) == NOT_CALLED:
            continue
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
            found |= {
                Permission(short(name), statement["Sid"], action)
                for statement in document["Statement"]
                for action in as_list(statement["Action"])
                if statement["Effect"] == "Allow"
            }
    return found


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def documented() -> dict[Permission, str]:
    """Returns the permissions in the document's table, each with the reason."""
    row = re.compile(r"^\| `([\w-]+)` \| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
    rows = row.findall(DOCUMENT.read_text())
    assert rows
    return {
        Permission(role, statement, action): why
        for role, statement, actions, why in rows
        for action in re.findall(r"`([^`]+)`", actions)
    }

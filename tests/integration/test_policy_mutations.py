"""Rules that the local cloud enforces, and that fail where a policy breaks them.

Each case is a call that the deployment makes. Terraform's own policies allow it, and do not after
one change, with a message that names what is missing. The evaluation is the local cloud's.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from localstack_emr_msk.iam.actions import permissions
from localstack_emr_msk.iam.cloud import Call, Cloud
from localstack_emr_msk.iam.evaluation import Decision, Principal, evaluate
from localstack_emr_msk.iam.policies import Names, Needed, parse_policy

from tests.support.rendered_policies import rendered_policies

ACCOUNT = "123456789012"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/data"
TOPIC = f"arn:aws:sns:eu-central-1:{ACCOUNT}:superres-test-alarms"
NODES = ("processing", "instances_may_do_what_jobs_do_and_no_more", "node_policy")
KEY_POLICY = ("storage", "policies", "key_policy")
PIPELINE = (
    "orchestration",
    "with_transient_clusters_it_makes_and_terminates_them",
    "pipeline_policy",
)
Document = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A call, the policy that allows it, and a change after which it does not."""

    policy: tuple[str, str, str]
    needed: Needed
    change: Callable[[Document], None]
    reason: str
    service: str = ""  # that calls; else the role whose policy it is


def statement(document: Document, sid: str) -> Document:
    found: Document = next(each for each in document["Statement"] if each["Sid"] == sid)
    return found


def without_action(sid: str, action: str) -> Callable[[Document], None]:
    return lambda document: statement(document, sid)["Action"].remove(action)


def without_statement(sid: str) -> Callable[[Document], None]:
    return lambda document: document["Statement"].remove(statement(document, sid))


def with_condition(sid: str, condition: Document) -> Callable[[Document], None]:
    return lambda document: statement(document, sid).update(Condition=condition)


CASES = {
    "an action is removed": Case(
        NODES,
        Needed("s3:PutObject", "arn:aws:s3:::work/run_id=2026-01-31-x2/patches/1.parquet", {}),
        without_action("UseTables", "s3:PutObject"),
        "no identity-based policy allows the s3:PutObject action",
    ),
    # Spark's S3 connector asks for keys that do not exist yet; S3 answers 404 only to those who may
    # list, and such a request has no prefix.
    "listing depends on a prefix": Case(
        NODES,
        Needed("s3:ListBucket", "arn:aws:s3:::work", {}),
        with_condition("ListWhereSparkWorks", {"StringLike": {"s3:prefix": ["run_id=*"]}}),
        "no identity-based policy allows the s3:ListBucket action",
    ),
    "CloudWatch may not use the key": Case(
        KEY_POLICY,
        Needed("kms:GenerateDataKey", KEY, {"kms:encryptioncontext:aws:sns:topicarn": (TOPIC,)}),
        without_statement("AlarmsToTopics"),
        "no key policy allows the kms:GenerateDataKey action",
        service="cloudwatch.amazonaws.com",
    ),
}


def decide(case: Case, document: Document) -> Decision:
    if not case.service:
        return decide_for_role(document, case.needed)
    policy = parse_policy(case.policy[2], json.dumps(document))
    return evaluate(Principal(case.service, Names(service=case.service)), case.needed, policy)


def decide_for_role(document: Document, needed: Needed) -> Decision:
    policy = parse_policy("own", json.dumps(document))
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/own/session"
    role = f"arn:aws:iam::{ACCOUNT}:role/own"
    return evaluate(Principal(session, Names(session, role, ACCOUNT), [policy]), needed, None)


def rendered(policy: tuple[str, str, str]) -> Document:
    module, run, output = policy
    document: Document = json.loads(rendered_policies(module)[(run, output)])
    return document


@pytest.mark.slow
@pytest.mark.terraform
@pytest.mark.parametrize("name", CASES)
def test_a_call_is_denied_once_a_policy_lacks_what_it_needs(name: str) -> None:
    case = CASES[name]
    document = rendered(case.policy)
    assert decide(case, document).allowed
    case.change(document)
    changed = decide(case, document)
    assert not changed.allowed
    assert changed.reason == case.reason


class NewCluster:
    """The cloud as far as creating a cluster needs it."""

    def tags(self, arn: str) -> dict[str, str]:
        return {}

    def role_of_profile(self, account: str, profile: str) -> str:
        return f"arn:aws:iam::{account}:role/{profile}"


def needs_of_cluster(**changed: Any) -> list[Needed]:
    """Returns the permissions for a cluster such as an execution creates."""
    given = {
        "ServiceRole": f"arn:aws:iam::{ACCOUNT}:role/superres-test-emr",
        "JobFlowRole": "superres-test-emr-nodes",
        "Tags": [{"Key": "Stack", "Value": "superres-test"}],
        "ManagedScalingPolicy": {"ComputeLimits": {}},
        "AutoTerminationPolicy": {"IdleTimeout": 3600},
    }
    call = Call("emr", "RunJobFlow", given | changed, "eu-central-1", ACCOUNT)
    return list(permissions(call, cast(Cloud, NewCluster())))


@pytest.mark.slow
@pytest.mark.terraform
def test_an_execution_creates_only_clusters_with_its_tag_and_roles() -> None:
    document = rendered(PIPELINE)
    needed = needs_of_cluster()
    assert len(needed) == 6
    assert all(decide_for_role(document, each).allowed for each in needed)
    other_tag = needs_of_cluster(Tags=[{"Key": "Stack", "Value": "other"}])
    assert not decide_for_role(document, other_tag[0]).allowed
    other_role = needs_of_cluster(JobFlowRole="administrator")
    assert not decide_for_role(document, other_role[-1]).allowed

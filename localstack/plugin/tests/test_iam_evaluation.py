"""The decision about a call; most cases are examples of AWS's documentation."""

import json
from typing import Any

import pytest
from localstack_emr_msk.iam.conditions import PolicyError
from localstack_emr_msk.iam.evaluation import Decision, Principal, evaluate
from localstack_emr_msk.iam.policies import Names, Needed, Policy, parse_policy

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/nodes"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/nodes/i-1"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
KEY = f"arn:aws:kms:eu-central-1:{ACCOUNT}:key/1"
BUCKET = "arn:aws:s3:::bucket"
OBJECT = f"{BUCKET}/images/1.png"


def policy(*statements: dict[str, Any], name: str = "policy") -> Policy:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return parse_policy(name, json.dumps(document))


def allow(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> dict[str, Any]:
    return allow(action, resource, **more) | {"Effect": "Deny"}


def role(*statements: dict[str, Any], **more: Any) -> Principal:
    identity = [policy(*statements)] if statements else []
    return Principal(SESSION, Names(SESSION, ROLE, ACCOUNT), identity, **more)


def service(name: str) -> Principal:
    return Principal(name, Names(service=name))


def decide(
    principal: Principal,
    action: str = "s3:GetObject",
    arn: str = OBJECT,
    resource: Policy | None = None,
    **keys: str,
) -> Decision:
    context = {name.replace("_", ":", 1): (text,) for name, text in keys.items()}
    return evaluate(principal, Needed(action, arn, context), resource)


# ---- identity-based policies


def test_everything_is_denied_by_default() -> None:
    decision = decide(role())
    assert not decision.allowed
    assert decision.reason == "no identity-based policy allows the s3:GetObject action"


def test_an_allow_names_its_statement() -> None:
    decision = decide(role(allow("s3:Get*", f"{BUCKET}/images/*", Sid="ReadImages")))
    assert decision == Decision(True, ("policy/ReadImages",))


def test_an_action_is_not_case_sensitive_and_a_resource_is() -> None:
    assert decide(role(allow("S3:getobject"))).allowed
    assert not decide(role(allow("s3:GetObject", f"{BUCKET}/Images/*"))).allowed


def test_an_explicit_deny_overrides_an_allow() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
    # Carlos may do everything in his bucket, and nobody may write to one for logs.
    own = "arn:aws:s3:::amzn-s3-demo-bucket-carlossalazar-logs"
    user = f"arn:aws:iam::{ACCOUNT}:user/carlossalazar"
    carlos = Principal(
        user,
        Names(user, "", ACCOUNT),
        [
            policy(
                allow("s3:*", [own, f"{own}/*"]), deny("s3:*", "arn:aws:s3:::*log*", Sid="NoLogs")
            )
        ],
    )
    of_bucket = policy(allow("s3:*", [own, f"{own}/*"], Principal={"AWS": user}))
    decision = decide(carlos, "s3:PutObject", f"{own}/object", of_bucket)
    assert decision == Decision(False, ("policy/NoLogs",), "an explicit deny in a policy")


def test_not_action_and_not_resource() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notaction.html
    but_iam = {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}
    assert decide(role(but_iam)).allowed
    assert not decide(role(but_iam), "iam:CreateUser", "*").allowed
    elsewhere = {"Effect": "Deny", "Action": "s3:*", "NotResource": [BUCKET, f"{BUCKET}/*"]}
    assert decide(role(allow("*"), elsewhere)).allowed
    assert not decide(role(allow("*"), elsewhere), arn="arn:aws:s3:::other/1").allowed


def test_a_variable_in_a_resource() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
    home = role(allow("s3:GetObject", f"{BUCKET}/${{aws:username}}/*"))
    assert decide(home, arn=f"{BUCKET}/carlos/1", aws_username="carlos").allowed
    assert not decide(home, arn=f"{BUCKET}/carlos/1", aws_username="maria").allowed
    assert not decide(home, arn=f"{BUCKET}/carlos/1").allowed


def test_a_condition_on_the_prefix_applies_to_listing_alone() -> None:
    condition = {"StringLike": {"s3:prefix": ["images/*"]}}
    listing = role(allow("s3:ListBucket", BUCKET, Condition=condition))
    assert decide(listing, "s3:ListBucket", BUCKET, s3_prefix="images/a").allowed
    assert not decide(listing, "s3:ListBucket", BUCKET, s3_prefix="other/").allowed
    assert not decide(listing, "s3:ListBucket", BUCKET).allowed


# ---- limits


def test_a_permissions_boundary_limits_and_grants_nothing() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html: Shirley.
    boundary = policy(allow(["s3:*", "cloudwatch:*", "ec2:*"]))
    shirley = role(allow("iam:CreateUser"), boundary=boundary)
    decision = decide(shirley, "iam:CreateUser", "*")
    assert not decision.allowed
    assert decision.reason == "no permissions boundary allows the iam:CreateUser action"
    assert not decide(shirley).allowed
    assert decide(role(allow("s3:GetObject"), boundary=boundary)).allowed


def test_a_session_policy_limits_the_role() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies.html#policies_session
    limited = role(allow("s3:*"), session=policy(allow("s3:GetObject")))
    assert decide(limited).allowed
    assert not decide(limited, "s3:PutObject").allowed


@pytest.mark.parametrize(
    ("named", "allowed"),
    [(SESSION, True), (ROLE, False), ("*", False), (ROOT, False)],
)
def test_only_a_session_named_by_a_resource_passes_its_limits(named: str, allowed: bool) -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html
    limited = role(allow("s3:PutObject"), session=policy(allow("s3:PutObject")))
    of_bucket = policy(allow("s3:GetObject", f"{BUCKET}/*", Principal={"AWS": named}))
    assert decide(limited, resource=of_bucket).allowed is allowed


# ---- policies of resources


@pytest.mark.parametrize(
    ("principal", "allowed"),
    [
        ({"AWS": ROLE}, True),
        ({"AWS": SESSION}, True),
        ("*", True),
        ({"AWS": "*"}, True),
        ({"AWS": ROOT}, False),  # leaves it to identity-based policies, and there is none
        ({"AWS": ACCOUNT}, False),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:role/other"}, False),
        ({"Service": "ec2.amazonaws.com"}, False),
    ],
)
def test_a_bucket_policy_alone_may_allow(principal: Any, allowed: bool) -> None:
    of_bucket = policy(allow("s3:GetObject", f"{BUCKET}/*", Principal=principal))
    assert decide(role(), resource=of_bucket).allowed is allowed


def test_a_bucket_policy_may_deny_what_the_identity_allows() -> None:
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    of_bucket = policy(deny("s3:*", f"{BUCKET}/*", Principal="*", Condition=plain))
    reader = role(allow("s3:GetObject"))
    assert decide(reader, resource=of_bucket, aws_securetransport="true").allowed
    assert not decide(reader, resource=of_bucket, aws_securetransport="false").allowed


def test_not_principal_denies_all_others() -> None:
    others = deny("s3:*", f"{BUCKET}/*", NotPrincipal={"AWS": [ROLE, SESSION]})
    assert decide(role(allow("s3:*")), resource=policy(others)).allowed
    user = Principal("user", Names("user", "", ACCOUNT), [policy(allow("s3:*"))])
    assert not decide(user, resource=policy(others)).allowed


def test_a_key_is_used_only_if_its_policy_allows() -> None:
    # https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
    user = role(allow("kms:Decrypt", KEY))
    by_iam = policy(allow("kms:*", Principal={"AWS": ROOT}))
    assert decide(user, "kms:Decrypt", KEY, by_iam).allowed
    assert not decide(role(), "kms:Decrypt", KEY, by_iam).allowed
    decision = decide(user, "kms:Decrypt", KEY, policy(allow("kms:Encrypt", Principal="*")))
    assert not decision.allowed
    assert decision.reason == "no key policy allows the kms:Decrypt action"
    assert decide(
        role(), "kms:Decrypt", KEY, policy(allow("kms:*", Principal={"AWS": ROLE}))
    ).allowed


def test_a_role_is_assumed_only_if_its_trust_policy_allows() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_terms-and-concepts.html
    def trust(principal: Any, **more: Any) -> Policy:
        return policy(
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, **more}
        )

    assert not decide(role(allow("sts:*")), "sts:AssumeRole", ROLE, None).allowed
    assert decide(role(), "sts:AssumeRole", ROLE, trust({"AWS": ROLE})).allowed
    assert not decide(role(), "sts:AssumeRole", ROLE, trust({"AWS": ROOT})).allowed
    assert decide(
        role(allow("sts:AssumeRole")), "sts:AssumeRole", ROLE, trust({"AWS": ROOT})
    ).allowed
    external = {"StringEquals": {"sts:ExternalId": "42"}}
    given = trust({"AWS": ROLE}, Condition=external)
    assert decide(role(), "sts:AssumeRole", ROLE, given, sts_externalid="42").allowed
    assert not decide(role(), "sts:AssumeRole", ROLE, given, sts_externalid="43").allowed


def test_a_service_is_allowed_by_the_resource_alone_for_its_source() -> None:
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    queue = f"arn:aws:sqs:eu-central-1:{ACCOUNT}:queue"
    source = {"ArnEquals": {"aws:SourceArn": BUCKET}}
    of_queue = policy(
        allow("sqs:SendMessage", queue, Principal={"Service": "s3.amazonaws.com"}, Condition=source)
    )
    s3 = service("s3.amazonaws.com")
    assert decide(s3, "sqs:SendMessage", queue, of_queue, aws_sourcearn=BUCKET).allowed
    other = "arn:aws:s3:::other"
    assert not decide(s3, "sqs:SendMessage", queue, of_queue, aws_sourcearn=other).allowed
    sns = service("sns.amazonaws.com")
    assert not decide(sns, "sqs:SendMessage", queue, of_queue, aws_sourcearn=BUCKET).allowed
    assert not decide(s3, "sqs:SendMessage", queue, None, aws_sourcearn=BUCKET).allowed


def test_nobody_is_allowed_only_what_everyone_is() -> None:
    nobody = Principal("anonymous", Names())
    assert decide(
        nobody, resource=policy(allow("s3:GetObject", f"{BUCKET}/*", Principal="*"))
    ).allowed
    assert not decide(
        nobody, resource=policy(allow("s3:GetObject", f"{BUCKET}/*", Principal={"AWS": ROOT}))
    ).allowed
    assert not decide(nobody).allowed


# ---- policies that cannot be evaluated


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid"),
        ('{"Version": "2012-10-17"}', "not valid"),
        ('{"Statement": {"Effect": "Allow", "Resource": "*"}}', "neither Action nor NotAction"),
        (
            '{"Statement": {"Effect": "Allow", "Action": "*", "Condition": {"Odd": {"a": "b"}}}}',
            "policy p: the condition operator Odd is not known",
        ),
    ],
)
def test_a_policy_that_cannot_be_read_is_an_error(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        parse_policy("p", text)


def test_a_policy_may_be_encoded_for_urls() -> None:
    # As GetRolePolicy returns it.
    found = parse_policy("p", "%7B%22Statement%22%3A%5B%5D%7D")
    assert found.statements == ()

"""AWS's decision whether a call is allowed, within one account.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-basics.html

There are no organizations here, so neither service nor resource control policies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from localstack_emr_msk.iam.patterns import Context
from localstack_emr_msk.iam.policies import Named, Names, Needed, Policy


@dataclass(frozen=True)
class Principal:
    """Who calls, and the policies of that identity.

    Args:
        name: For messages and the report: the ARN of a session or user, or a service's name.
        names: The names that resource policies may use.
        identity: Policies of the role, or of the user and its groups.
        boundary: The permissions boundary, if there is one.
        session: The session policy, if there is one.
        context: Condition keys that describe the principal.
    """

    name: str
    names: Names
    identity: Sequence[Policy] = ()
    boundary: Policy | None = None
    session: Policy | None = None
    context: Context = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The decision, the statements that led to it, and why a call is denied."""

    allowed: bool
    statements: tuple[str, ...] = ()
    reason: str = ""


def evaluate(principal: Principal, needed: Needed, resource: Policy | None) -> Decision:
    """Decides whether a call is allowed; ``resource`` is the policy of its resource."""
    denials = [*_denials(principal, needed), *_resource_denials(principal, needed, resource)]
    if denials:
        return Decision(False, tuple(denials), "an explicit deny in a policy")
    grants = _grants(principal, needed, resource)
    if not grants and _decided_by_resource(needed, principal):
        kind = "key" if needed.action.startswith("kms:") else "resource-based"
        return Decision(False, (), f"no {kind} policy allows the {needed.action} action")
    exact = [name for name, how in grants if how is Named.EXACTLY]
    if exact:
        return Decision(True, tuple(exact))
    by_resource = [name for name, how in grants if how is Named.AS_ROLE]
    by_identity = list(_names(principal.identity, needed, allows=True))
    if not by_resource and not by_identity:
        return Decision(False, (), f"no identity-based policy allows the {needed.action} action")
    # Naming the account alone leaves the decision to the account's identity-based policies.
    by_account = [name for name, how in grants if how is Named.AS_ACCOUNT]
    for kind, limit in (
        ("permissions boundary", principal.boundary),
        ("session policy", principal.session),
    ):
        if limit is not None and not any(_names([limit], needed, allows=True)):
            return Decision(False, (), f"no {kind} allows the {needed.action} action")
    return Decision(True, (*by_resource, *by_identity, *by_account))


def _decided_by_resource(needed: Needed, principal: Principal) -> bool:
    """Returns whether only the policy of the resource can allow this.

    That is so for roles and keys, https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html,
    and for services and anonymous callers, which have no identity-based policies.
    """
    return (
        needed.action == "sts:AssumeRole"
        or (needed.action.startswith("kms:") and ":key/" in needed.resource)
        or not principal.names.account
    )


def _names(policies: Iterable[Policy], needed: Needed, *, allows: bool) -> Iterable[str]:
    return (each.name for policy in policies for each in policy.applying(needed, allows=allows))


def _denials(principal: Principal, needed: Needed) -> Iterable[str]:
    limits = [each for each in (principal.boundary, principal.session) if each is not None]
    return _names([*principal.identity, *limits], needed, allows=False)


def _resource_denials(
    principal: Principal, needed: Needed, resource: Policy | None
) -> Iterable[str]:
    if resource is not None:
        for statement in resource.applying(needed, allows=False):
            if statement.names(principal.names) is not None:
                yield statement.name


def _grants(
    principal: Principal, needed: Needed, resource: Policy | None
) -> list[tuple[str, Named]]:
    if resource is None:
        return []
    statements = resource.applying(needed, allows=True)
    found = ((each.name, each.names(principal.names)) for each in statements)
    return [(name, how) for name, how in found if how is not None]

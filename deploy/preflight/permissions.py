"""Whether the caller may do what deploying needs, as IAM's simulation says."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from deploy.permissions import Scope, Statement, read_statements
from deploy.preflight.finding import Finding, listed

if TYPE_CHECKING:
    from types_boto3_iam import IAMClient

_SHOWN = 8  # actions named in a finding
_REMEDY = "deploy with a role that may (infra/deploy_role/README.md)"


def permission_findings(
    scope: Scope, name: str, caller: str, iam: "IAMClient"
) -> Iterator[Finding]:
    """Yields the actions that the caller (an ARN) lacks for the environment of this full name.

    The simulation knows the caller's policies and boundary, and the account's service control
    policies only without their conditions.
    https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html
    """
    kind = caller.rpartition(":")[2]
    if kind == "root":
        return  # may do everything, and cannot be simulated
    if not kind.startswith(("user/", "role/", "assumed-role/")):
        yield Finding(
            f"the permissions of {caller} could not be checked: IAM can only simulate users and "
            f"roles; if the deployment is refused midway, {_REMEDY}",
            stops=False,
        )
        return
    source = _role_of(caller, iam) if kind.startswith("assumed-role/") else caller
    denied: list[str] = []
    unclear: list[str] = []
    for statement in read_statements(scope):
        found = _denied(statement, _examples(statement, scope, name), source, iam)
        (unclear if "*" in statement.resources else denied).extend(found)
    if denied:
        yield Finding(f"{source} may not {listed(denied, _SHOWN)}: {_REMEDY}, or allow it")
    if unclear:
        yield Finding(
            f"{source} may not {listed(unclear, _SHOWN)} on every resource; unless its policies "
            f"allow them on those of {name}, {_REMEDY}",
            stops=False,
        )


def _role_of(caller: str, iam: "IAMClient") -> str:
    """Returns the ARN of an assumed role; the session's own ARN leaves out the role's path."""
    name = caller.split("/")[1]
    return iam.get_role(RoleName=name)["Role"]["Arn"]


def _examples(statement: Statement, scope: Scope, name: str) -> list[str]:
    """Returns the statement's resources as ARNs of this environment, without wildcards."""
    return [
        arn if arn == "*" else arn.replace(f"{scope.project}-*", f"{name}-x").replace("*", "x")
        for arn in statement.resources
    ]


def _denied(
    statement: Statement, resources: Iterable[str], source: str, iam: "IAMClient"
) -> Iterator[str]:
    """Yields the actions of a statement that are refused on all of its resources.

    A statement lists kinds of resources that not every action knows, so one that is allowed counts.
    An answer that depends on what the simulation does not know, such as tags, is none.
    """
    context: Any = [
        {"ContextKeyName": key, "ContextKeyValues": [values[0]], "ContextKeyType": "string"}
        for key, values in statement.conditions.items()
    ] + [
        {"ContextKeyName": key, "ContextKeyValues": [value], "ContextKeyType": "boolean"}
        for key, value in statement.flags.items()
    ]
    allowed: set[str] = set()
    refused: set[str] = set()
    for resource in resources:
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=source,
            ActionNames=list(statement.actions),
            ResourceArns=[resource],
            ContextEntries=context,
        )
        for page in pages:
            for result in page["EvaluationResults"]:
                settled = result["EvalDecision"] != "allowed" and not result.get(
                    "MissingContextValues"
                )
                (refused if settled else allowed).add(result["EvalActionName"])
    yield from (action for action in statement.actions if action in refused - allowed)

"""Which actions the calls in LocalStack's log need, and which of them the deploy role lacks."""

import json
import re

from localstack_emr_msk.iam import s3_actions
from localstack_emr_msk.iam.actions import action
from localstack_emr_msk.iam.cloud import Call

from deploy.permissions import Scope, read_statements
from tests.local_cloud.stack import REGION, Stack

_LINE = re.compile(r" AWS ([a-z0-9-]+)\.(\w+) => 2\d\d")
# "No permissions are required to perform this operation."
# https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
_FREE = {"sts:GetCallerIdentity"}
# What tests and the tests' own set-up call, and no deployment does.
_OF_TESTS = {"sts:AssumeRole", "s3:ListAllMyBuckets"}


def forgotten_actions(stack: Stack, verbs: tuple[str, ...] = ("",)) -> tuple[set[str], set[str]]:
    """Returns the actions of the calls so far, and those that the deploy role lacks.

    Calls of roles (nodes and services) are left out; so are operations that begin with no verb.
    """
    of_roles = {
        json.loads(line)["call"] for line in stack.permissions.read_text("utf-8").splitlines()
    }
    called = {
        (service, operation)
        for service, operation in _LINE.findall(stack.log)
        if operation.startswith(verbs)
    }
    allowed = {
        action
        for statement in read_statements(Scope("aws", "000000000000", REGION, "superres"))
        for action in statement.actions
    }
    used = {each: _action(*each) for each in called}
    forgotten = {
        name
        for (service, operation), name in used.items()
        if name not in allowed | _FREE | _OF_TESTS and f"{service}:{operation}" not in of_roles
    }
    return set(used.values()), forgotten


def _action(service: str, operation: str) -> str:
    """Returns the action of an operation; a batch needs that of a single one."""
    call = Call(service, operation, {"Bucket": "bucket"}, REGION, "000000000000")
    if operation == "DeleteObjects":
        return "s3:DeleteObject"
    if service == "s3":
        return next(s3_actions.permissions(call)).action
    return action(call).removesuffix("Batch")

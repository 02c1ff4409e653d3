"""DeleteObjects, which S3 allows or denies for each key."""

from collections.abc import Callable, MutableMapping
from typing import Any

from localstack_emr_msk.iam.handler import DENIED_OBJECTS

Table = MutableMapping[str, Any]


def answer_for_each_key(table: Table) -> None:
    """Makes S3's DeleteObjects delete what is allowed, and return an error for each other key."""
    table["DeleteObjects"] = _with_denials(table["DeleteObjects"])


def _with_denials(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def handle(context: Any, request: Any) -> Any:
        denied = getattr(context, DENIED_OBJECTS, None)
        if not denied:
            return handler(context, request)
        objects = request["Delete"]["Objects"]
        allowed = [each for each in objects if each["Key"] not in denied]
        answer: dict[str, Any] = {}
        if allowed:
            delete = {**request["Delete"], "Objects": allowed}
            answer = handler(context, {**request, "Delete": delete})
        errors = [
            {"Key": each["Key"], "Code": "AccessDenied", "Message": "Access Denied"}
            for each in objects
            if each["Key"] in denied
        ]
        return {**answer, "Errors": [*(answer.get("Errors") or ()), *errors]}

    return handle

"""What an execution tells EventBridge, in the form that Step Functions tells it.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
LocalStack tells times as text, not as milliseconds, and no input as an object, not as its text.
"""

import json
from datetime import datetime
from typing import Any

from localstack.services.stepfunctions.backend import execution


def tell_as_aws() -> None:
    """Has executions tell EventBridge of themselves as on AWS."""
    entry_of = execution.PutEventsRequestEntry

    def entry(**fields: Any) -> Any:
        return entry_of(**fields | {"Detail": as_aws(fields["Detail"])})

    execution.PutEventsRequestEntry = entry


def as_aws(detail: str) -> str:
    """The detail of an event as AWS writes it."""
    told = json.loads(detail)
    for name in ("startDate", "stopDate"):
        if told[name] is not None:
            told[name] = round(datetime.fromisoformat(told[name]).timestamp() * 1000)
    if told["input"] == {}:
        told["input"] = "{}"
    return json.dumps(told)

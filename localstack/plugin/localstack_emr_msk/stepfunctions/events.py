"""Events of executions on EventBridge, in AWS's form.

https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
LocalStack sends times as text instead of milliseconds, and an empty input as an object, not text.
"""

import json
from datetime import datetime
from typing import Any

from localstack.services.stepfunctions.backend import execution


def use_aws_event_format() -> None:
    """Makes executions send events in AWS's form."""
    entry_of = execution.PutEventsRequestEntry

    def entry(**fields: Any) -> Any:
        return entry_of(**fields | {"Detail": to_aws_format(fields["Detail"])})

    execution.PutEventsRequestEntry = entry


def to_aws_format(detail: str) -> str:
    """Converts the detail of an event to AWS's form."""
    content = json.loads(detail)
    for name in ("startDate", "stopDate"):
        if content[name] is not None:
            content[name] = round(datetime.fromisoformat(content[name]).timestamp() * 1000)
    if content["input"] == {}:
        content["input"] = "{}"
    return json.dumps(content)

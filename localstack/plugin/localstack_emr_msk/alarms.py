"""Alarms publish to SNS as CloudWatch, as on AWS; LocalStack does it as the account.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
"""

import json
from typing import Any

from localstack.aws.connect import connect_to
from localstack.services.cloudwatch import provider_v2


def publish_as_cloudwatch() -> None:
    """Makes actions of alarms name CloudWatch and the alarm."""
    provider_v2.connect_to = _Clients


class _Clients:
    """Replaces LocalStack's factory of clients in the provider of CloudWatch."""

    def __init__(self, **arguments: Any) -> None:
        self._clients = connect_to(**arguments)

    def __getattr__(self, service: str) -> Any:
        client = getattr(self._clients, service)
        return _Publisher(client) if service == "sns" else client


class _Publisher:
    def __init__(self, client: Any) -> None:
        self._client = client

    def publish(self, **given: Any) -> Any:
        """Publishes for the alarm that the message names."""
        alarm = json.loads(given["Message"])["AlarmArn"]
        named = self._client.request_metadata(service_principal="cloudwatch", source_arn=alarm)
        return named.publish(**given)

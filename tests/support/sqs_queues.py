"""A queue of SQS with a dead-letter queue, for tests on LocalStack."""

import json
import uuid
from dataclasses import dataclass
from typing import Any

import boto3

VISIBILITY_SECONDS = 4
MAX_RECEIVES = 3


@dataclass(frozen=True)
class Queue:
    """A queue whose messages move to a dead-letter queue after too many receives."""

    client: Any
    url: str
    dead_url: str
    arn: str

    def send(self, *bodies: object) -> None:
        texts = [body if isinstance(body, str) else json.dumps(body) for body in bodies]
        for start in range(0, len(texts), 10):
            entries = [
                {"Id": str(number), "MessageBody": body}
                for number, body in enumerate(texts[start : start + 10])
            ]
            response = self.client.send_message_batch(QueueUrl=self.url, Entries=entries)
            assert not response.get("Failed")

    def count(self, url: str | None = None) -> int:
        """Number of messages in the queue, invisible ones included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=url or self.url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def dead_count(self) -> int:
        """Number of messages in the dead-letter queue."""
        return self.count(self.dead_url)


def _senders_policy(arn: str) -> str:
    """Lets the services that send events send them to a queue."""
    services = ["s3.amazonaws.com", "events.amazonaws.com"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": services},
        "Action": "sqs:SendMessage",
        "Resource": arn,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})


def make_queue() -> Queue:
    client = boto3.client("sqs")
    name = f"test-{uuid.uuid4().hex[:12]}"

    def create(name: str, attributes: dict[str, str]) -> tuple[str, str]:
        url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    dead_url, dead_arn = create(f"{name}-dead", {})
    redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": MAX_RECEIVES}
    url, arn = create(
        name,
        {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": json.dumps(redrive)},
    )
    client.set_queue_attributes(QueueUrl=url, Attributes={"Policy": _senders_policy(arn)})
    return Queue(client, url, dead_url, arn)

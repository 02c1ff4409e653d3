"""The queue with S3's events of new low-resolution images."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog

from ingestion.starts.calls import calling
from superres.errors import RecordError
from superres.pipeline.layout import run_of_image
from superres.pipeline.stored_events import stored_in

_BATCH = 10  # the maximum of SQS
_HIDDEN_SECONDS = 60
_POISON_SECONDS = 5  # until it is received again, on its way to the dead-letter queue

_log = structlog.get_logger()


@dataclass(frozen=True)
class NewImages:
    """A message about new images, usually one, hidden from other receivers while we hold it.

    Attributes:
        receipt: names the message to SQS.
        run_ids: the runs that process the images.
        sent_at: when SQS got the message; the images were stored before.
    """

    receipt: str
    run_ids: frozenset[str]
    sent_at: datetime


class ImageQueue:
    """Receives, holds and deletes the messages.

    Args:
        client: of SQS.
        url: of the queue.
        on_unreadable: called for each message that cannot be understood, once.
    """

    def __init__(
        self, client: Any, url: str, on_unreadable: Callable[[], object] = lambda: None
    ) -> None:
        self._client = client
        self._url = url
        self._on_unreadable = on_unreadable

    def receive(self, wait_seconds: int) -> tuple[list[NewImages], bool]:
        """Returns messages about new images, and whether there were any messages at all.

        Messages about anything else are deleted. Those that cannot be understood become visible
        again soon, so that the queue's redrive policy moves them to the dead-letter queue.
        """
        with calling("the queue of new images"):
            received = self._client.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=_HIDDEN_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp", "ApproximateReceiveCount"],
            ).get("Messages", [])
        held, irrelevant, unreadable = [], [], []
        for message in received:
            try:
                run_ids = run_ids_in(message["Body"])
            except RecordError as error:
                unreadable.append(message["ReceiptHandle"])
                self._report(message, error)
                continue
            if run_ids:
                held.append(_new_images(message, run_ids))
            else:
                irrelevant.append(message["ReceiptHandle"])
        self._delete(irrelevant)
        self._hide(unreadable, _POISON_SECONDS)
        return held, bool(received)

    def delete(self, messages: Sequence[NewImages]) -> None:
        """Deletes messages; one that cannot be deleted now is received again, which is harmless."""
        self._delete(message.receipt for message in messages)

    def keep(self, messages: Sequence[NewImages]) -> list[NewImages]:
        """Hides messages for another minute; returns those that are still ours.

        SQS lets a message be hidden for twelve hours in all.
        """
        lost = self._hide((message.receipt for message in messages), _HIDDEN_SECONDS)
        return [message for message in messages if message.receipt not in lost]

    def release(self, messages: Sequence[NewImages]) -> None:
        """Makes messages visible to other receivers at once."""
        self._hide((message.receipt for message in messages), 0)

    def _report(self, message: dict[str, Any], error: RecordError) -> None:
        if message["Attributes"]["ApproximateReceiveCount"] == "1":
            _log.error("poison_message", message_id=message["MessageId"], reason=str(error))
            self._on_unreadable()

    def _delete(self, receipts: Iterable[str]) -> None:
        for _, entries in _batches(receipts):
            with calling("the queue of new images"):
                self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)

    def _hide(self, receipts: Iterable[str], seconds: int) -> set[str]:
        """Returns the receipts that SQS no longer knows."""
        lost = set()
        for batch, entries in _batches(receipts):
            hidden = [entry | {"VisibilityTimeout": seconds} for entry in entries]
            with calling("the queue of new images"):
                answer = self._client.change_message_visibility_batch(
                    QueueUrl=self._url, Entries=hidden
                )
            lost |= {batch[int(failed["Id"])] for failed in answer.get("Failed", [])}
        return lost


def run_ids_in(body: str) -> frozenset[str]:
    """Returns the runs of the new images that a message announces.

    Raises ``RecordError`` when it is not an event of S3, or names an object that is no image.
    """
    found = set()
    for uri, _ in stored_in(body):
        run_id = run_of_image(uri)
        if run_id is None:
            raise RecordError(f"{uri}: ingestion stores no image there")
        if not uri.endswith(".json"):  # the reference of the image beside it
            found.add(run_id)
    return frozenset(found)


def _new_images(message: dict[str, Any], run_ids: frozenset[str]) -> NewImages:
    milliseconds = int(message["Attributes"]["SentTimestamp"])
    sent_at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return NewImages(message["ReceiptHandle"], run_ids, sent_at)


def _batches(receipts: Iterable[str]) -> Iterator[tuple[list[str], list[dict[str, Any]]]]:
    """Yields the receipts in batches, each with the entries that name them by their position."""
    left = list(receipts)
    while left:
        batch, left = left[:_BATCH], left[_BATCH:]
        yield batch, [{"Id": str(at), "ReceiptHandle": receipt} for at, receipt in enumerate(batch)]

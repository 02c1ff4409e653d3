"""Receives from SQS that a record was written, or the status of an execution.

A message is deleted once its content is committed, or if it is irrelevant. One that cannot be
understood is returned, so that the queue's redrive policy moves it to the dead-letter queue. One
that could not be recorded stays in the queue: it is received again after its visibility timeout,
and the scan of storage finds its record in any case.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Event
from typing import Annotated, Any, Literal

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from notifier.listening.outage import Outage
from notifier.listening.reading import Reader
from notifier.recording import record_status
from notifier.store.runs import RunStatus, State
from superres.errors import RecordError, StorageError
from superres.pipeline import storage
from superres.pipeline.layout import date_and_scale_of
from superres.pipeline.stored_events import stored_in

# A receive cannot be interrupted, so this is also how long a stop takes. An idle queue costs 1.3
# million requests per month and process (half a dollar); 20 seconds would save nine tenths of it.
_POLL_SECONDS = 2
_BATCH = 10  # the maximum of SQS
_POISON_SECONDS = 5  # until it is received again, on its way to the dead-letter queue
_CLIENT_CONFIG = Config(
    connect_timeout=5, read_timeout=_POLL_SECONDS + 10, retries={"total_max_attempts": 1}
)
_MAX_RETRY_SECONDS = 30.0
_MAX_PROBE_SECONDS = 5.0
_MAX_TEXT_LENGTH = 2000

_log = structlog.get_logger()

Message = dict[str, Any]
Handle = Callable[[str], None]
"""Processes the body of a message; raises ``RecordError`` or ``StorageError``."""


@dataclass(frozen=True)
class Queue:
    """A queue and the handler of its messages; ``name`` is for the log."""

    name: str
    url: str
    handle: Handle


def keep_polling(queue: Queue, reader: Reader, stop: Event) -> None:
    """Receives and handles messages of a queue until ``stop`` is set."""
    unreachable = Outage(f"queue {queue.name}", _MAX_RETRY_SECONDS, reader, general=True)
    unrecorded = Outage(f"records of queue {queue.name}", _MAX_PROBE_SECONDS, reader)
    client: Any = None
    with ThreadPoolExecutor(_BATCH, f"listening-{queue.name}") as pool:
        while not stop.is_set():
            try:
                client = client or _client(queue.url)
                messages = _receive(client, queue)
                unreachable.end()
                reader.metrics.events.inc(len(messages))
                failure = _handle_batch(client, queue, messages, reader, pool)
            except (BotoCoreError, ClientError) as error:
                stop.wait(unreachable.failure(error))
                continue
            if failure is not None:
                _wait_out(failure, unrecorded, reader, stop)
            elif messages:
                unrecorded.end()
    if client is not None:
        client.close()


def _client(url: str) -> Any:
    # Its own session: boto3's default one is not thread-safe.
    session = boto3.session.Session(region_name=region_of(url))
    return session.client("sqs", config=_CLIENT_CONFIG)


def region_of(url: str) -> str | None:
    """The region in a queue's URL; where it names none, the one in the environment."""
    named = re.match(r"https?://sqs\.([a-z0-9-]+)\.", url)
    return named[1] if named else os.environ.get("AWS_REGION")


def _receive(client: Any, queue: Queue) -> list[Message]:
    response = client.receive_message(
        QueueUrl=queue.url,
        MaxNumberOfMessages=_BATCH,
        WaitTimeSeconds=_POLL_SECONDS,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )
    return list(response.get("Messages", []))


def _handle_batch(
    client: Any, queue: Queue, messages: Sequence[Message], reader: Reader, pool: Executor
) -> StorageError | None:
    """Returns why a message could not be recorded, if so; that message stays in the queue."""

    def error_of(message: Message) -> RecordError | StorageError | None:
        try:
            queue.handle(message["Body"])
        except (RecordError, StorageError) as error:
            return error
        return None

    done, poison, failure = [], [], None
    for message, error in zip(messages, pool.map(error_of, messages), strict=True):
        if error is None:
            done.append(message)
        elif isinstance(error, StorageError):
            failure = error
        else:
            poison.append(message)
            if message["Attributes"]["ApproximateReceiveCount"] == "1":
                reader.metrics.unreadable.inc()
                message_id = message["MessageId"]
                reason = str(error)
                _log.error("poison_message", queue=queue.name, message_id=message_id, reason=reason)
    # Failures to delete are ignored: receiving a message again does no harm.
    if done:
        client.delete_message_batch(QueueUrl=queue.url, Entries=_entries(done))
    if poison:
        entries = [each | {"VisibilityTimeout": _POISON_SECONDS} for each in _entries(poison)]
        client.change_message_visibility_batch(QueueUrl=queue.url, Entries=entries)
    return failure


def _entries(messages: Sequence[Message]) -> list[dict[str, Any]]:
    return [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
        for number, message in enumerate(messages)
    ]


def _wait_out(failure: StorageError, outage: Outage, reader: Reader, stop: Event) -> None:
    # Receiving meanwhile would move good messages towards the dead-letter queue.
    error: StorageError | None = failure
    while error is not None and not stop.wait(outage.failure(error)):
        error = _still_failing(reader)


def _still_failing(reader: Reader) -> StorageError | None:
    try:
        reader.database.change()
        storage.exists(storage.join(reader.results, "evaluations"))
    except StorageError as error:
        return error
    return None


# ---- events of S3


def handle_stored(reader: Reader, body: str) -> None:
    """Reads the records that a message of S3 announces.

    Raises ``RecordError`` if it is not an event of S3 or one of its records cannot be read,
    ``StorageError`` like ``Reader.read``.
    """
    unreadable: RecordError | None = None
    for uri, tag in stored_in(body):
        try:
            if reader.kind_of(uri):
                reader.read(uri, tag)
        except RecordError as error:
            unreadable = error
    if unreadable is not None:
        raise unreadable


# ---- events of Step Functions

_STATES: dict[str, State] = {
    "RUNNING": "running",
    "PENDING_REDRIVE": "running",
    "SUCCEEDED": "succeeded",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "ABORTED": "stopped",
}

_Milliseconds = Annotated[int, Field(ge=0, lt=253_402_300_800_000)]  # until the year 9999


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Execution(_Part):
    name: str = Field(min_length=1)
    status: str
    started: _Milliseconds | None = Field(default=None, validation_alias="startDate")
    stopped: _Milliseconds | None = Field(default=None, validation_alias="stopDate")
    input: str | None = None
    error: str | None = None
    cause: str | None = None


class _StatusChange(_Part):
    type: Literal["Step Functions Execution Status Change"] = Field(validation_alias="detail-type")
    time: AwareDatetime
    detail: _Execution


class _Input(_Part):
    scale: Annotated[int, Field(ge=2, le=4)] | None = None
    ingest_date: date | None = None
    run_id: str | None = None
    run_ids: list[str] | None = None


def handle_status(reader: Reader, body: str) -> None:
    """Records the status of an execution that a message announces.

    Raises ``RecordError`` if it is not such an event, ``StorageError`` if it cannot be recorded.
    """
    if record_status(reader.database, status_in(body)):
        reader.metrics.recorded.inc()


def status_in(body: str) -> RunStatus:
    """Parses the status of an execution; raises ``RecordError`` if the message is not one."""
    try:
        message = _StatusChange.model_validate_json(body)
        execution = message.detail
        state = _STATES[execution.status]
    except (ValidationError, KeyError):
        raise RecordError("the message is not the status of an execution") from None
    started = _moment(execution.started)
    changed = started if state == "running" else _moment(execution.stopped)
    run_input = _input(execution.input)
    detail = {"error": execution.error, "cause": execution.cause}
    return RunStatus(
        execution.name,
        "execution",
        state,
        run_input.scale,
        run_input.ingest_date,
        started,
        changed or message.time,
        {name: text[:_MAX_TEXT_LENGTH] for name, text in detail.items() if text},
    )


def _moment(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _input(text: str | None) -> _Input:
    """Parses the input of an execution; an invalid one is for the state machine to reject.

    Where it names a single run, that run says date and scale.
    """
    try:
        given = _Input.model_validate_json(text or "{}")
    except ValidationError:
        return _Input()
    runs = [given.run_id] if given.run_id else given.run_ids or []
    named = date_and_scale_of(runs[0]) if len(runs) == 1 else None
    return _Input(ingest_date=named[0], scale=named[1]) if named else given

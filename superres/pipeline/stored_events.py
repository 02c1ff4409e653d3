"""The messages with which S3 announces that it has stored an object.

S3 sends them to a queue itself, or through EventBridge, in two forms:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
"""

from typing import Literal
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from superres.errors import RecordError
from superres.pipeline import storage


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Bucket(_Part):
    name: str


class _Object(_Part):
    key: str
    tag: str = Field(default="", validation_alias="eTag")


class _Stored(_Part):
    bucket: _Bucket
    object: _Object


class _Notified(_Part):
    event: str = Field(validation_alias="eventName")
    s3: _Stored


class _Notification(_Part):
    """S3 sends this to a queue directly."""

    records: list[_Notified] = Field(validation_alias="Records")


class _TestEvent(_Part):
    """S3 sends this to test its permission."""

    event: Literal["s3:TestEvent"] = Field(validation_alias="Event")


class _TaggedObject(_Part):
    key: str
    etag: str = ""


class _StoredDetail(_Part):
    bucket: _Bucket
    object: _TaggedObject


class _Forwarded(_Part):
    """S3 sends this through EventBridge."""

    source: Literal["aws.s3"]
    type: str = Field(validation_alias="detail-type")
    detail: _StoredDetail


_MESSAGE: TypeAdapter[_Notification | _TestEvent | _Forwarded] = TypeAdapter(
    _Notification | _TestEvent | _Forwarded
)


def stored_in(body: str) -> list[tuple[str, str]]:
    """Returns URI and ETag of the objects that were written, by a message of S3.

    Raises ``RecordError`` if it is not an event of S3.
    """
    try:
        message = _MESSAGE.validate_json(body)
    except ValidationError:
        raise RecordError("the message is not an event of S3") from None
    if isinstance(message, _TestEvent):
        return []
    if isinstance(message, _Forwarded):
        if message.type != "Object Created":
            return []
        bucket, stored = message.detail.bucket.name, message.detail.object
        # EventBridge sends plain keys, LocalStack encoded ones; our plain keys contain =.
        key = stored.key if "=" in stored.key else unquote_plus(stored.key)
        return [(f"{storage.S3}{bucket}/{key}", stored.etag)]
    return [
        (
            f"{storage.S3}{record.s3.bucket.name}/{unquote_plus(record.s3.object.key)}",
            record.s3.object.tag,
        )
        for record in message.records
        if record.event.startswith("ObjectCreated:")
    ]

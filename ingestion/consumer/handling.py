"""Handles one message: the image is fetched and stored, rejected with a reason, or retried later.

Runs in the threads of the consumer, or without a broker of ``ingestion.direct``; partitions and
offsets are the consumer's concern.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Protocol

import structlog

from ingestion.consumer.fetching import Fetcher
from ingestion.consumer.messages import Header, ReceivedMessage
from ingestion.consumer.prometheus_metrics import Metrics
from ingestion.retries import FetchError, backoff_seconds
from superres.errors import ForbiddenUrlError, ImageRejectedError, RecordError, StorageError
from superres.imaging.files import STORED_SUFFIXES
from superres.pipeline import storage
from superres.pipeline.arrival import reject_arrival, store_image
from superres.pipeline.config import Settings
from superres.pipeline.layout import Layout, layout_on
from superres.pipeline.records import ImageReference, RejectedImage, image_id_of

_log = structlog.get_logger()
_MAX_STORAGE_RETRY_SECONDS = 5.0  # between two attempts while storage fails
_RECENT_IMAGES = 4096
_MAX_REASON_LENGTH = 1000  # a reason may quote what a stranger sent
_layout_on = lru_cache(64)(layout_on)  # saves a tenth of a millisecond per image


@dataclass(frozen=True)
class Finished:
    """The image is stored or rejected; the offset may be committed."""


@dataclass(frozen=True)
class RetryLater:
    """Try the message again after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Abandoned:
    """Given up without a result: the partition was revoked, or the consumer stops."""


Outcome = Finished | RetryLater | Abandoned


class StorageHealth:
    """Whether storage works; while it fails, the consumer pauses.

    Attributes:
        failing: why it fails; empty while it works.
    """

    def __init__(self) -> None:
        self.failing = ""

    def failed(self, reason: str) -> None:
        """Records that storage failed."""
        self.failing = reason

    def worked(self) -> None:
        """Records that storage worked."""
        self.failing = ""


class RecentImages:
    """The images stored last, so that a repeated message costs no fetch."""

    def __init__(self, capacity: int = _RECENT_IMAGES) -> None:
        self._capacity = capacity
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def add(self, image_id: str) -> None:
        """Adds an image and drops the oldest."""
        with self._lock:
            self._ids[image_id] = None
            if len(self._ids) > self._capacity:
                self._ids.popitem(last=False)

    def __contains__(self, image_id: str) -> bool:
        with self._lock:
            return image_id in self._ids


class Letters(Protocol):
    """Where rejected messages go, besides their records in storage."""

    def ready(self) -> str:
        """Why nothing can be sent at the moment; empty when it can."""

    def send(
        self,
        key: bytes | None,
        value: bytes,
        headers: Sequence[Header],
        record: RejectedImage,
        origin: str,
    ) -> bool:
        """Sends a rejected message; False when stopped before it was acknowledged."""


@dataclass(frozen=True)
class Handler:
    """Handles messages; the threads of a consumer share one."""

    settings: Settings
    fetcher: Fetcher
    dead_letters: Letters
    metrics: Metrics
    stop: Event
    storage_health: StorageHealth = field(default_factory=StorageHealth)
    stored: RecentImages = field(default_factory=RecentImages)

    def handle(self, message: ReceivedMessage) -> Outcome:
        """Handles a message; never raises."""
        if message.assignment.ending.is_set():
            return Abandoned()
        try:
            if message.attempt > self.settings.ingestion.attempts:
                return self._reject_message(message, "unexpected error; see the consumer log")
            return self._handle(message)
        except Exception:
            # A bug or a lack of memory: it must neither block other messages nor lose this one.
            where = {"partition": message.partition, "offset": message.offset}
            _log.exception("unexpected_error", attempt=message.attempt, **where)
            self.metrics.retries.inc()
            return RetryLater(backoff_seconds(min(message.attempt + 1, 8)))

    def _handle(self, message: ReceivedMessage) -> Outcome:
        try:
            reference = _reference_in(message.value)
        except RecordError as error:
            return self._reject_message(message, str(error))
        if _stored_key(reference) in self.stored:
            self.metrics.repeated.inc()
            return Finished()
        try:
            return self._fetch_and_store(message, reference)
        except (ForbiddenUrlError, ImageRejectedError) as error:
            return self._reject(message, reference, str(error))
        except FetchError as error:
            if error.retryable and message.attempt < self.settings.ingestion.attempts:
                self.metrics.retries.inc()
                return RetryLater(backoff_seconds(message.attempt + 1, error.retry_after))
            tried = f" (tried {message.attempt} times)" if message.attempt > 1 else ""
            return self._reject(message, reference, f"{error}{tried}")

    def _fetch_and_store(self, message: ReceivedMessage, reference: ImageReference) -> Outcome:
        start = monotonic()
        layout = self._layout(reference)
        size, done = 0, False

        def attempt() -> None:
            nonlocal size, done
            try:
                with self.fetcher.fetched(reference.url) as content:
                    size = content.stat().st_size if isinstance(content, Path) else len(content)
                    # Retried in here, too, so that a storage failure causes no second fetch.
                    done = self._retry_storage(
                        message,
                        lambda: store_image(content, reference, layout, self.settings.processing),
                    )
            except FetchError:
                if storage.is_s3(reference.url):
                    # If storage fails as a whole, this raises, and the image is not rejected.
                    _is_stored(reference, layout)
                raise

        if not (self._retry_storage(message, attempt) and done):
            return Abandoned()
        self.stored.add(_stored_key(reference))
        self.metrics.bytes.inc(size)
        self.metrics.seconds.observe(monotonic() - start)
        self.metrics.stored.inc()
        _log.info("stored", image_id=reference.image_id, source=reference.source, bytes=size)
        return Finished()

    def _reject(self, message: ReceivedMessage, reference: ImageReference, reason: str) -> Outcome:
        layout = self._layout(reference)
        found: list[bool] = []
        if not self._retry_storage(message, lambda: found.append(_is_stored(reference, layout))):
            return Abandoned()
        if found[-1]:
            # An earlier message for the same image succeeded, which is what counts.
            _log.info("stored_before", image_id=reference.image_id, reason=reason)
            return Finished()
        return self._record_rejection(message, reference.image_id, reference.source, reason, layout)

    def _reject_message(self, message: ReceivedMessage, reason: str) -> Outcome:
        """Rejects a message that is not a reference; its image_id is made from its content."""
        scale = self.settings.processing.upscale_factor
        mode = self.settings.ingestion.mode
        image_id = image_id_of(mode, scale, f"message:{message.value.hex()}")
        layout = _layout_on(self.settings.dataset, message.sent_at.date(), scale)
        return self._record_rejection(message, image_id, self._origin(message), reason, layout)

    def _record_rejection(
        self, message: ReceivedMessage, image_id: str, source: str, reason: str, layout: Layout
    ) -> Outcome:
        if len(reason) > _MAX_REASON_LENGTH:
            reason = f"{reason[:_MAX_REASON_LENGTH]}…"
        written: list[RejectedImage] = []
        if not self._retry_storage(
            message,
            lambda: written.append(reject_arrival(image_id, source, reason, layout)),
        ):
            return Abandoned()
        if not self.dead_letters.send(
            message.key, message.value, message.headers, written[-1], self._origin(message)
        ):
            return Abandoned()
        self.metrics.rejected.inc()
        _log.warning("rejected", image_id=image_id, source=source, reason=reason)
        return Finished()

    def _origin(self, message: ReceivedMessage) -> str:
        return f"{self.settings.kafka.topic}/{message.partition}/{message.offset}"

    def _layout(self, reference: ImageReference) -> Layout:
        return _layout_on(self.settings.dataset, reference.ingest_date, reference.scale)

    def _retry_storage(self, message: ReceivedMessage, action: Callable[[], None]) -> bool:
        """Repeats an action until storage works; False when the message is abandoned first."""
        for attempt in count(2):
            if self._is_abandoned(message):
                return False
            try:
                action()
            except (StorageError, OSError) as error:  # OSError: no room for temporary files
                if self._is_abandoned(message):
                    return False
                self.storage_health.failed(str(error))
                _log.error("storage_failed", reason=str(error), attempt=attempt - 1)
                wait = min(_MAX_STORAGE_RETRY_SECONDS, backoff_seconds(min(attempt, 8)))
                self.stop.wait(wait)
                continue
            self.storage_health.worked()
            return True
        return False

    def _is_abandoned(self, message: ReceivedMessage) -> bool:
        return message.assignment.over.is_set() or self.stop.is_set()


def _reference_in(value: bytes) -> ImageReference:
    reference = ImageReference.from_json(value)
    try:
        _ = reference.ingest_date
    except OverflowError:
        moment = reference.requested_at.isoformat()
        raise RecordError(f"requested_at: {moment} has no date in UTC") from None
    return reference


def _stored_key(reference: ImageReference) -> str:
    """Includes the date: an image requested again on another day is stored for that day, too."""
    return f"{reference.ingest_date}/{reference.image_id}"


def _is_stored(reference: ImageReference, layout: Layout) -> bool:
    low = layout.low_resolution_of(reference)
    return any(storage.exists(f"{low}.{suffix}") for suffix in STORED_SUFFIXES)
